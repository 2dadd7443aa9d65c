"""What functions answer, as typed models: the `coffre` command and the state of the world rely on them."""

from coffre.results.backup import (
    BackupPlan,
    BackupResult,
    CaptureResult,
    FanOutResult,
    HolderResult,
    PlannedBatch,
    SnapshotCost,
    StepResult,
)
from coffre.results.finding import LISTED, SHOWN, Finding, Result, listed
from coffre.results.health import EndpointAnswer, HealthReport, HealthResult, ObjectivesReport
from coffre.results.restore import DrillResult, RestorePlan, RestoreResult, UndoPlan, UndoResult
from coffre.results.rotate import HoldResult, RotateDecision, RotateReport, RotateResult
from coffre.results.verify import (
    Compared,
    CopiesResult,
    CopyCompared,
    CopyResult,
    CopyVerdict,
    ProofReport,
    RecheckReport,
    RecheckResult,
    UpgradeReport,
    VerifyResult,
)

__all__ = [
    "LISTED",
    "SHOWN",
    "BackupPlan",
    "BackupResult",
    "CaptureResult",
    "Compared",
    "CopiesResult",
    "CopyCompared",
    "CopyResult",
    "CopyVerdict",
    "DrillResult",
    "EndpointAnswer",
    "FanOutResult",
    "Finding",
    "HealthReport",
    "HealthResult",
    "HoldResult",
    "HolderResult",
    "ObjectivesReport",
    "PlannedBatch",
    "ProofReport",
    "RecheckReport",
    "RecheckResult",
    "RestorePlan",
    "RestoreResult",
    "Result",
    "RotateDecision",
    "RotateReport",
    "RotateResult",
    "SnapshotCost",
    "StepResult",
    "UndoPlan",
    "UndoResult",
    "UpgradeReport",
    "VerifyResult",
    "listed",
]
