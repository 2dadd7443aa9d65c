"""Health over time, from CloudWatch: the scores that `coffre.health.metrics` prints.

CloudWatch keeps them for 15 months, summed up by the hour after two, so nothing else has to.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import MetricsUnavailableError

DAY_SECONDS = 86_400
_STATISTICS = {"lowest": "Minimum", "mean": "Average"}


@dataclass(frozen=True)
class DayScore:
    """The lowest and the mean score of one day."""

    lowest: float
    mean: float


class Scores:
    """The recorded scores of one stack.

    Parameters
    ----------
    client:
        A boto3 CloudWatch client.
    stack:
        The stack's name, a dimension of the metric.
    """

    def __init__(self, client: Any, stack: str) -> None:
        self._client = client
        self._stack = stack

    def daily(self, database: str, begins: datetime, ends: datetime) -> dict[date, DayScore]:
        """The scores of each day (UTC) that has any.

        Raises
        ------
        MetricsUnavailableError
        """
        dimensions = [{"Name": "Stack", "Value": self._stack}, {"Name": "Database", "Value": database}]
        metric = {"Namespace": "Coffre", "MetricName": "HealthScore", "Dimensions": dimensions}
        queries = [
            {"Id": name, "MetricStat": {"Metric": metric, "Period": DAY_SECONDS, "Stat": statistic}}
            for name, statistic in _STATISTICS.items()
        ]
        try:
            answer = self._client.get_metric_data(MetricDataQueries=queries, StartTime=begins, EndTime=ends)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise MetricsUnavailableError(f"CloudWatch answered {code}") from error
        except BotoCoreError as error:
            raise MetricsUnavailableError(f"CloudWatch: {type(error).__name__}") from error
        found = {
            result["Id"]: {
                time.astimezone(UTC).date(): float(value)
                for time, value in zip(result["Timestamps"], result["Values"], strict=True)
            }
            for result in answer["MetricDataResults"]
        }
        means = found.get("mean", {})
        return {day: DayScore(low, means.get(day, low)) for day, low in found.get("lowest", {}).items()}
