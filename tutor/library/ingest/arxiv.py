"""arXiv over the network: whole periods by OAI-PMH, single papers and searches by the API.

arXiv asks for one connection at a time and one request every three seconds,
over all its interfaces. A harvest of months is many pages; each page is stored
before the token of the next one is, so that a harvest that was stopped goes on
where it was. Nothing here runs unless it is asked for by name.

Source: https://info.arxiv.org/help/oa and https://info.arxiv.org/help/api/tou.html;
descriptive metadata, abstracts among them, are given under CC0 1.0.
"""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from statml.errors import InputError, ServiceError
from tutor.library.chunks import Document, Rejected
from tutor.library.ingest.arxiv_xml import Page, parse
from tutor.library.ingest.records import ARXIV, record
from tutor.library.store import AddReport, Library

OAI = "https://oaipmh.arxiv.org/oai"
API = "https://export.arxiv.org/api/query"
SET = "physics:astro-ph"
#: Seconds between two requests, and papers of one request to the API.
PAUSE, PER_REQUEST = 3.0, 200
#: Tries of one request, and the longest wait the server may ask for.
TRIES, LONGEST_WAIT = 5, 600.0
AGENT = "statml-tutor (personal library of abstracts; one request every 3 s)"

Fetch = Callable[[str], bytes]
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Connection:
    """Fetches one address after the other, never more often than every `PAUSE` seconds.

    Parameters
    ----------
    opened : callable, optional
        Takes a request and a timeout, returns what `urllib.request.urlopen` does.
    sleep, clock : callable
        For tests.
    """

    def __init__(
        self,
        opened: Callable[..., object] = urllib.request.urlopen,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opened, self._sleep, self._clock = opened, sleep, clock
        self._last: float | None = None

    def __call__(self, address: str) -> bytes:
        """Return what `address` answers.

        Raises
        ------
        ServiceError
            If arXiv does not answer after `TRIES` tries.
        """
        problem = "did not answer"
        for attempt in range(TRIES):
            if self._last is not None:
                self._sleep(max(0.0, PAUSE - (self._clock() - self._last)))
            wait = PAUSE * 2**attempt
            try:
                request = urllib.request.Request(address, headers={"User-Agent": AGENT})
                with self._opened(request, timeout=60) as reply:  # type: ignore[attr-defined]
                    return bytes(reply.read())
            except urllib.error.HTTPError as error:
                problem = f"answered {error.code}"
                if error.code not in (429, 500, 502, 503, 504):
                    break
                asked = str(error.headers.get("Retry-After", ""))
                wait = min(float(asked), LONGEST_WAIT) if asked.isdigit() else wait
            except OSError as error:
                problem = f"cannot be reached ({getattr(error, 'reason', error)})"
            finally:
                self._last = self._clock()
            if attempt + 1 < TRIES:
                self._sleep(wait)
        raise ServiceError(f"arXiv {problem}; what came so far is stored: run the same command again later")


@dataclass(frozen=True)
class Progress:
    """After a page: papers received so far, papers of the whole answer (0: unknown)."""

    received: int
    total: int


def harvest(
    library: Library,
    since: str,
    until: str = "",
    *,
    fetch: Fetch,
    limit: int | None = None,
    told: Callable[[Progress], None] = lambda progress: None,
) -> AddReport:
    """Store the astro-ph papers whose records changed between two days (OAI-PMH).

    Parameters
    ----------
    library : Library
        Also keeps the token of the next page, under the two days.
    since, until : str
        ``YYYY-MM-DD``; an empty `until` is today.
    fetch : callable
        Usually a `Connection`.
    limit : int, optional
        Stop after the page that reaches it; the next call goes on from there.
    told : callable
        Hears of every page.

    Raises
    ------
    InputError
        For a day that is none.
    ServiceError
        If arXiv does not answer or refuses.
    """
    for name, day in (("since", since), ("until", until)):
        if (day or name == "since") and not _DATE.fullmatch(day):
            raise InputError(f"{name} must be a day as YYYY-MM-DD, got {day!r}")
    name = f"{SET} {since} {until or 'on'}"
    first = {"verb": "ListRecords", "set": SET, "metadataPrefix": "arXiv", "from": since}
    if until:
        first["until"] = until
    token, received = _kept(library, name)
    began = received
    report = AddReport(0, 0, 0, (), library.generation)
    while True:
        asked = {"verb": "ListRecords", "resumptionToken": token} if token else first
        page = _page(fetch, f"{OAI}?{urlencode(asked)}")
        if page.error == "noRecordsMatch":
            break
        if page.error == "badResumptionToken" and token:
            token, received, began = "", 0, 0  # too old: from the start, where nothing is stored twice
            continue
        if page.error:
            raise ServiceError(f"arXiv refuses the harvest: {page.message or page.error}")
        report = _sum(report, library.add(documents(page)))
        received += len(page.papers)
        token = page.token
        _keep(library, name, token, received)
        told(Progress(received, page.total))
        if not token or (limit is not None and received - began >= limit):
            break
    return report


def search(
    library: Library,
    query: str,
    *,
    fetch: Fetch,
    limit: int = 100,
    told: Callable[[Progress], None] = lambda progress: None,
) -> AddReport:
    """Store the papers of a list of arXiv numbers, or the newest that fit a search of arXiv's API.

    Parameters
    ----------
    query : str
        ``2507.09622, 2506.24010``, or ``cat:astro-ph.GA AND abs:gyrochronology``.
    limit : int
        Most papers; arXiv allows 30000.
    """
    if not 1 <= limit <= 30000:
        raise InputError(f"limit must be between 1 and 30000, got {limit}")
    numbers = [one.strip() for one in query.split(",")]
    by_number = all(ARXIV.match(one) for one in numbers)
    report = AddReport(0, 0, 0, (), library.generation)
    start = 0
    while start < limit:
        count = min(PER_REQUEST, limit - start)
        asked = {"start": start, "max_results": count}
        if by_number:
            part = numbers[start : start + count]
            if not part:
                break
            asked = {"id_list": ",".join(part), "max_results": count}  # type: ignore[dict-item]
        else:
            asked |= {"search_query": query, "sortBy": "submittedDate", "sortOrder": "descending"}  # type: ignore[dict-item]
        page = _page(fetch, f"{API}?{urlencode(asked)}")
        if page.error:
            raise ServiceError(f"arXiv refuses the search: {page.message or page.error}")
        if not page.papers:
            break
        report = _sum(report, library.add(documents(page)))
        start += len(page.papers)
        told(Progress(start, min(limit, len(numbers) if by_number else page.total)))
    return report


def documents(page: Page) -> Iterator[Document | Rejected]:
    """The papers of one answer."""
    for entry in page.papers:
        try:
            yield record(entry, "arXiv")
        except ValueError as error:
            yield Rejected(f"arXiv {entry.get('id') or 'paper without id'}", str(error))


def _page(fetch: Fetch, address: str) -> Page:
    try:
        return parse(fetch(address))
    except ValueError as error:
        raise ServiceError(f"what arXiv answered {error}; run the same command again later") from error


def _kept(library: Library, name: str) -> tuple[str, int]:
    if not library.exists:
        return "", 0
    row = library.reading().execute("SELECT token, received FROM harvests WHERE name = ?", (name,)).fetchone()
    return (row["token"], row["received"]) if row and row["token"] else ("", 0)


def _keep(library: Library, name: str, token: str, received: int) -> None:
    with library.transaction() as db:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        db.execute("INSERT OR REPLACE INTO harvests VALUES (?, ?, ?, ?)", (name, token, received, now))


def _sum(one: AddReport, other: AddReport) -> AddReport:
    return AddReport(
        one.added + other.added,
        one.updated + other.updated,
        one.unchanged + other.unchanged,
        (*one.rejected, *other.rejected),
        other.generation,
    )
