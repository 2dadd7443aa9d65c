"""Messages to queues, topics, buses and functions, by ARN."""

import json
from collections.abc import Callable, Mapping
from typing import Any


class UnsupportedTargetError(Exception):
    """A target of a kind that the local cloud doesn't reach."""


class Targets:
    """Sends through the AWS endpoints themselves.

    Args:
        client: makes a boto3 client of a service.
        invoke: sends an event to the function of an ARN, asynchronously.
    """

    def __init__(self, client: Callable[[str], Any], invoke: Callable[[str, bytes], object]) -> None:
        self._client = client
        self._invoke = invoke
        self._clients: dict[str, Any] = {}

    def send(self, arn: str, body: str, attributes: Mapping[str, str] | None = None) -> None:
        """Send one message.

        Args:
            arn: the target: a Lambda function, an SQS queue, an SNS topic or an EventBridge bus.
            body: the message, JSON.
            attributes: message attributes, for queues and topics.

        Raises:
            UnsupportedTargetError: the ARN is of another service.
            botocore.exceptions.ClientError: the target refuses, for instance because it doesn't exist.
        """
        service, name = arn.split(":")[2], arn.rsplit(":", maxsplit=1)[-1]
        values = {k: {"DataType": "String", "StringValue": v} for k, v in (attributes or {}).items()}
        if service == "lambda":
            self._invoke(arn, body.encode())
        elif service == "sqs":
            sqs = self._get("sqs")
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            group = {"MessageGroupId": "localcloud"} if name.endswith(".fifo") else {}
            sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=values, **group)
        elif service == "sns":
            self._get("sns").publish(TopicArn=arn, Message=body, MessageAttributes=values)
        elif service == "events":
            failed = json.loads(body)["responseContext"].get("functionError")
            entry = {
                "Source": "lambda",
                "DetailType": f"Lambda Function Invocation Result - {'Failure' if failed else 'Success'}",
                "Detail": body,
                "EventBusName": arn.rpartition("/")[2],
            }
            self._get("events").put_events(Entries=[entry])
        else:
            raise UnsupportedTargetError(f"{arn}: the local cloud doesn't deliver to {service}")

    def _get(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._client(service)
        return self._clients[service]
