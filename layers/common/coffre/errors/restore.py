"""Restores: the target, the plan, and what came out."""

from __future__ import annotations

from coffre.errors.base import BadInputError, CoffreError


class TargetNotEmptyError(BadInputError):
    """The target database holds objects already; a restore never overwrites."""

    code = "target-not-empty"
    advice = "Name a database that doesn't exist yet, or an empty one."


class TargetTemplateError(BadInputError):
    """The target database is a template: every database that is made later would hold what is restored."""

    code = "target-template"
    advice = "Name another database."


class TargetTooOldError(BadInputError):
    """The target server's major version is older than the source's."""

    code = "target-too-old"
    advice = "Restore into the same or a newer major version."


class TargetLacksError(BadInputError):
    """The target role or server lacks something that the restore needs; each is named."""

    code = "target-lacks"
    advice = "Grant what is named, use another role, or restore with `--roles mine`."


class UnknownTablesError(BadInputError):
    """A restore of single tables names one that the backup doesn't hold."""

    code = "unknown-table"
    advice = "Give SCHEMA.TABLE for each, as it is written in the database."


class TablesNotMovableError(BadInputError):
    """Tables need something that can't come along into a schema of their own; each is named."""

    code = "tables-not-movable"
    advice = "Ask for tables that are named, too, or restore all into a new database and take what you need."


class TablesPublishedError(BadInputError):
    """Tables can't come back into a database that publishes all its tables: subscribers would get them."""

    code = "tables-published"
    advice = "Restore all into a new database, and take the tables from there."


class PlanChangedError(BadInputError):
    """The confirmed plan isn't the plan that would run now."""

    code = "plan-changed"
    advice = "Ask for a plan again, read it, and confirm that one."


class PlanUnknownError(BadInputError):
    """No plan of this database has this token."""

    code = "plan-unknown"
    advice = "Ask for a plan; its answer holds the token."


class PlanExpiredError(BadInputError):
    """A plan was confirmed later than 15 minutes after it was made."""

    code = "plan-expired"
    advice = "Ask for a plan again, read it, and confirm that one."


class PlanUsedError(BadInputError):
    """A plan was confirmed a second time."""

    code = "plan-used"
    advice = "`coffre restore list NAME` shows what became of it; ask for a plan again to run another one."


class SafetyBackupImpossibleError(BadInputError):
    """The database that a restore would replace can't be backed up first: not registered, or too large."""

    code = "safety-backup-impossible"
    advice = 'Register it with `coffre databases add`, or do without: `--no-safety` (`"safety": "skip"`).'


class UndoImpossibleError(BadInputError):
    """No database on the server is the one that a restore replaced last under this name."""

    code = "undo-impossible"
    advice = "Look at the databases' names and comments; the restore runbook shows how to rename by hand."


class SessionsRemainError(CoffreError):
    """Sessions with a database that is to be renamed didn't end in time; nothing was renamed."""

    code = "sessions-remain"
    advice = "End them as their own role or as a superuser, stop what opens them, and try again."


class RestoreMismatchError(CoffreError):
    """What was restored isn't equal to what was backed up; each difference is named."""

    code = "restore-mismatch"
    advice = "It is left for a look, under a working name or marked by a schema `coffre_restoring_…`."


class RowsLostError(CoffreError):
    """The target's server crashed during a restore, and so emptied what is unlogged."""

    code = "rows-lost"
    advice = "Ask for a new plan: it restores everything again. Drop the database that this restore left."


class RestoreExceptionsError(CoffreError):
    """The rows violate constraints, or other objects can't be restored; each is named."""

    code = "restore-exceptions"
    advice = "All rows are in the backup: `--with-exceptions` restores them and leaves out what is named."


class RestoreTooLargeError(BadInputError):
    """A restore doesn't fit into one function, and can't run on the state machine as it was asked for."""

    code = "restore-too-large"
    advice = "`--runs function` tries it all the same."


class RestoreIncompleteError(CoffreError):
    """A step of a restore on the state machine found that something before it was not done."""

    code = "restore-incomplete"
    advice = "`coffre restore resume NAME` goes on where it stopped."


class RestoreOverError(CoffreError):
    """The restore that a piece of work belongs to has ended already."""

    code = "restore-over"
    advice = "Nothing is left to do; `coffre restore list NAME` says how it ended."


class RestoreStoppedError(CoffreError):
    """The state machine of a restore was stopped by hand, or came to the end of its time."""

    code = "restore-stopped"
    advice = (
        "`coffre restore resume NAME` goes on where it stopped; or drop the database with the working name."
    )


class NothingToResumeError(BadInputError):
    """No restore on the state machine has failed that could go on."""

    code = "nothing-to-resume"
    advice = "`coffre restore list NAME` and `coffre status NAME` show what there is; ask for a new plan."
