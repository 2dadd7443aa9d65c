"""What AWS asks for, by its public price pages; ``prices.json`` says as of when."""

from __future__ import annotations

from importlib import resources

from pydantic import BaseModel, ConfigDict


class Prices(BaseModel):
    """Dollars for one of each; ``as_of`` is the day on which the pages said so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: str
    region: str
    currency: str
    source: str
    lambda_gb_second: float
    lambda_request: float
    lambda_scratch_gb_second: float
    state_transition: float
    s3_put: float
    s3_get: float
    s3_gb_month: float
    dynamodb_write: float
    dynamodb_read: float


def load_prices() -> Prices:
    """The prices that this version knows."""
    return Prices.model_validate_json(resources.files("coffre").joinpath("prices.json").read_bytes())
