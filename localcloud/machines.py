"""State machines: their definitions out of the template; moto runs them, EventBridge is told how they end."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.events.models import events_backends
from moto.stepfunctions import responses
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel import branches_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_callback,
    state_task_service_lambda,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import (
    CallbackConsumerTimeout,
    HeartbeatTimeoutError,
)
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution

from localcloud import documents
from localcloud.errors import TemplateError
from localcloud.events import iso_time

MACHINE = "AWS::StepFunctions::StateMachine"
SOURCE = "AWS::Serverless::StateMachine"


def read_definition(path: Path) -> dict[str, Any]:
    """The definition in a file, JSON or YAML."""
    definition: dict[str, Any] = documents.parse(path.read_text())
    return definition


def create(states: Any, properties: Mapping[str, Any]) -> str:
    """Create a state machine as its resolved properties describe it; its ARN.

    moto's own CloudFormation makes state machines that never run.

    Raises:
        TemplateError: a substitution is missing, or the definition is refused.
    """
    definition = str(properties["DefinitionString"])
    for name, value in properties.get("DefinitionSubstitutions", {}).items():
        definition = definition.replace(f"${{{name}}}", str(value))
    left = re.search(r"\$\{\w+\}", definition)
    if left:
        raise TemplateError(f"the definition has {left[0]}, which DefinitionSubstitutions lacks")
    try:
        made = states.create_state_machine(
            name=properties["StateMachineName"], definition=definition, roleArn=properties["RoleArn"]
        )
    except ClientError as error:
        raise TemplateError(f"the state machine can't be created: {error}") from error
    return str(made["stateMachineArn"])


def install(replace: Callable[[Any, str, Any], Any]) -> None:
    """Let moto run state machines as AWS does.

    * moto's service executes definitions only when it is configured to,
    * ``InvocationType`` is passed on to Lambda: without it a state that waits for a token waits for the
      function, too,
    * each try at a state that waits for a token has a token of its own, which nobody takes any more when the
      try is over; and what gave no sign in time fails with ``States.HeartbeatTimeout``,
    * a branch of a Parallel may fail with an error of the machine's own,
    * an execution that is stopped has ended at once, and EventBridge is told how each one ends,
    * all states that invoke a function share a client, which takes longer to make than to use.

    Args:
        replace: sets an attribute of a class or module of moto's, and returns what stood there.
    """
    replace(responses, "default_user_config", {"stepfunctions": {"execute_state_machine": True}})
    bindings = state_task_service_lambda._SUPPORTED_API_PARAM_BINDINGS
    invoke = {"invoke": {*bindings["invoke"], "InvocationType"}}
    replace(state_task_service_lambda, "_SUPPORTED_API_PARAM_BINDINGS", invoke)
    callback = state_task_service_callback.StateTaskServiceCallback
    service = state_task_service_lambda.StateTaskServiceLambda
    replace(callback, "_evaluate_with_timeout", _with_own_token(callback._evaluate_with_timeout))
    replace(service, "_from_error", _with_heartbeats(service._from_error))
    replace(branches_decl, "CustomErrorName", ErrorName)
    communication = BaseExecutionWorkerCommunication
    replace(communication, "terminated", _terminated(communication.terminated))
    replace(Execution, "stop", _stop(Execution.stop))
    replace(lambda_eval_utils, "boto_client_for", _once(boto_client_for))


def _with_own_token(original: Callable[..., None]) -> Callable[..., None]:
    def evaluate(self: Any, env: Any) -> None:
        if not self._is_integration_pattern():
            return original(self, env)
        context, tokens = env.states.context_object, env.callback_pool_manager
        if context.context_object_data["State"]["RetryCount"]:
            tokens.add(context.update_task_token())
        endpoint = tokens.get(context.context_object_data["Task"]["Token"])
        try:
            return original(self, env)
        finally:
            endpoint.report(CallbackConsumerTimeout())

    return evaluate


def _with_heartbeats(original: Callable[..., Any]) -> Callable[..., Any]:
    def from_error(self: Any, env: Any, ex: Exception) -> Any:
        failure = original(self, env, ex)
        if isinstance(ex, HeartbeatTimeoutError):
            failure.error_name = StatesErrorName(typ=StatesErrorNameType.StatesHeartbeatTimeout)
            failure.event_details["taskTimedOutEventDetails"]["error"] = failure.error_name.error_name
        return failure

    return from_error


def _terminated(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def terminated(self: Any) -> None:
        if self.execution.exec_status == ExecutionStatus.ABORTED:
            return  # `_stop` said so
        original(self)
        _tell(self.execution)

    return terminated


def _stop(original: Callable[..., None]) -> Callable[..., None]:
    def stop(self: Execution, stop_date: Any, error: str | None, cause: str | None) -> None:
        original(self, stop_date, error, cause)
        if self.exec_status == ExecutionStatus.RUNNING:
            self.exec_status, self.stop_date = ExecutionStatus.ABORTED, stop_date
            _tell(self)

    return stop


def _once(original: Callable[..., Any]) -> Callable[..., Any]:
    made = cache(original)

    def client(*, region: str, service: str, **_: object) -> Any:
        return made(region, service)  # moto looks at no credentials

    return client


def _tell(execution: Execution) -> None:
    """Publish how an execution ended
    (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html)."""
    detail = {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine.arn,
        "name": execution.name,
        "status": execution.status,
        "input": json.dumps(execution.input_data),
        "error": execution.error,
        "cause": execution.cause,
    }
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": execution.account_id,
        "time": iso_time(),
        "region": execution.region_name,
        "resources": [execution.exec_arn],
        "detail": detail,
    }
    bus = events_backends[execution.account_id][execution.region_name].event_buses["default"]
    for rule in list(bus.rules.values()):
        rule.send_to_targets(event, transform_input=False)  # type: ignore[arg-type]
