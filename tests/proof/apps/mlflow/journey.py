"""MLflow's tracking server: its interface, experiments and runs by the API, artifacts up and down, errors."""

from ..application import Application
from ..visitor import Visitor

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def journey(visitor: Visitor) -> None:
    """Track a run, and look at it."""
    visitor.page("/")
    visitor.get("/health")
    visitor.get("/version")
    experiment = visitor.post(f"{_API}/experiments/create", json={"name": "proof"}).json()["experiment_id"]
    visitor.get(f"{_API}/experiments/get-by-name?experiment_name=proof")
    run = visitor.post(
        f"{_API}/runs/create", json={"experiment_id": experiment, "start_time": 1, "run_name": "r"}
    )
    run_id = run.json()["run"]["info"]["run_id"]
    visitor.post(f"{_API}/runs/log-parameter", json={"run_id": run_id, "key": "depth", "value": "3"})
    metrics = [{"key": "loss", "value": 1 / step, "timestamp": step, "step": step} for step in range(1, 100)]
    visitor.post(f"{_API}/runs/log-batch", json={"run_id": run_id, "metrics": metrics})
    visitor.get(f"{_API}/metrics/get-history?run_id={run_id}&metric_key=loss")
    visitor.post(f"{_API}/runs/search", json={"experiment_ids": [experiment]})
    place = f"{_ARTIFACTS}/{experiment}/{run_id}/artifacts/model.bin"
    visitor.ask("PUT", place, content=b"m" * 900_000)
    visitor.get(place)
    visitor.get(f"{_ARTIFACTS}?path={experiment}/{run_id}/artifacts")
    visitor.ask("DELETE", place)
    visitor.get(place)
    visitor.post(f"{_API}/runs/update", json={"run_id": run_id, "status": "FINISHED", "end_time": 2})
    visitor.post(f"{_API}/experiments/create", json={"name": "proof"})
    visitor.get(f"{_API}/runs/get?run_id=none")
    visitor.post(
        f"{_API}/runs/create", content="{", headers={"Content-Type": "application/json"}, refused="no JSON"
    )
    visitor.get("/none")


APPLICATION = Application(
    journey,
    target="mlflow.server.fastapi_app:app",
    env={
        "_MLFLOW_SERVER_FILE_STORE": "sqlite:///runs.sqlite",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "artifacts",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    },
    prepare=(("-m", "mlflow", "db", "upgrade", "sqlite:///runs.sqlite"),),
    varies=(r"\b[0-9a-f]{32}\b", r"\b1\d{12}\b"),
)
