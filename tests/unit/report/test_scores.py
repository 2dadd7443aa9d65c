"""Scores come from CloudWatch as they were recorded."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from coffre.errors import MetricsUnavailableError
from coffre.report.scores import DayScore, Scores

BEGIN, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def test_the_lowest_and_the_mean_of_each_day_of_this_database_and_stack() -> None:
    with mock_aws():
        client = boto3.client("cloudwatch", region_name="eu-west-1")
        for stack, name, hour, value in (
            ("live", "shop", 3, 80.0),
            ("live", "shop", 4, 100.0),
            ("live", "other", 3, 1.0),
            ("test", "shop", 3, 2.0),
        ):
            dimensions = [{"Name": "Stack", "Value": stack}, {"Name": "Database", "Value": name}]
            point = {"MetricName": "HealthScore", "Dimensions": dimensions, "Value": value}
            time = datetime(2026, 11, 5, hour, tzinfo=UTC)
            client.put_metric_data(Namespace="Coffre", MetricData=[{**point, "Timestamp": time}])
        found = Scores(client, "live").daily("shop", BEGIN, END)
    assert found == {date(2026, 11, 5): DayScore(80, 90)}


def test_what_cloudwatch_refuses_has_a_code() -> None:
    class Refusing:
        def get_metric_data(self, **_: Any) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "GetMetricData")

    with pytest.raises(MetricsUnavailableError, match="AccessDenied"):
        Scores(Refusing(), "live").daily("shop", BEGIN, END)
