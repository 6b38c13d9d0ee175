"""Jobs over HTTP, as `model.messages.jobs` documents it."""

from fastapi import FastAPI, Request, Response

from pltfrms.api.bounds.bodies import body_of, json_of
from pltfrms.api.routes.rights import asked_of
from pltfrms.controller.asked.jobs import JobDesk
from pltfrms.model.messages.jobs import JobChange


def add_job_routes(app: FastAPI, jobs: JobDesk) -> None:
    """Answer for jobs."""

    @app.post("/v1/jobs")
    async def change_job(request: Request) -> Response:
        """Apply, delete, run or stop a job."""
        wanted = await body_of(JobChange, request)
        return json_of(await jobs.change(wanted, asked_of(request)))
