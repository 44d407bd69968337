"""The application: both sides, the static files, and the rules around them all."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from statml.errors import ServiceError, StatmlError
from tutor.serve import instructor, student
from tutor.serve.access import House
from tutor.serve.rules import LOOPBACK, Rules

_LOG = logging.getLogger("tutor.serve")


def build(house: House, hosts: Collection[str] = LOOPBACK) -> FastAPI:
    """Put the application together.

    Parameters
    ----------
    house : House
        Logins, records and the desk; the desk is closed with the application.
    hosts : collection of str
        Names this server goes by; empty: any.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        house.desk.close()

    app = FastAPI(title="tutor", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.state.house = house
    app.state.failures = deque()
    app.include_router(student.router)
    app.include_router(instructor.router)
    app.mount("/static", StaticFiles(directory=student.STATIC), name="static")
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(ServiceError, _unavailable)
    app.add_exception_handler(StatmlError, _set_up_wrongly)
    app.add_middleware(Rules, hosts=hosts, tls=house.tls)
    return app


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    """An address that names nothing; what was sent is not repeated."""
    return JSONResponse({"detail": "there is nothing of that name"}, 404)


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    """A file of ours that cannot be used now."""
    return JSONResponse({"detail": "the records cannot be used now; try again"}, 503)


async def _set_up_wrongly(request: Request, error: Exception) -> JSONResponse:
    """A file of the instructor's that cannot be read; which one stands in the log and not on the page."""
    _LOG.error("%s", error)
    return JSONResponse({"detail": "the server is set up wrongly; tell your instructor"}, 503)
