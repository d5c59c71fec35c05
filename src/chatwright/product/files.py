"""/v1/files: upload, list, retrieve, read, delete."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fastapi import FastAPI, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from chatwright.engine.openapi import described
from chatwright.engine.protocol import ApiError
from chatwright.engine.protocol.documents import Deleted
from chatwright.engine.protocol.errors import invalid, unsupported
from chatwright.product.identity import owners_of, person_of
from chatwright.product.stored import Order, StoredList, page_of
from chatwright.store import Upload, Uploads

LARGEST_FILE = 100_000_000
"""Bytes."""
Purpose = Literal["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]
BLOCK = 1 << 20
FORM = {
    "type": "object", "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"}, "purpose": {"type": "string", "enum": [*get_args(Purpose)]},
    },
}  # fmt: skip


class FileObject(BaseModel):
    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]


class FilePage(StoredList):
    data: list[FileObject]  # type: ignore[assignment]  # rows of StoredList, told more closely


def shown(row: Upload) -> dict[str, Any]:
    return {
        "id": row.id, "object": "file", "bytes": row.bytes, "created_at": int(row.created.timestamp()),
        "filename": row.filename, "purpose": row.purpose, "status": "processed",
    }  # fmt: skip


def add_files(app: FastAPI, uploads: Uploads) -> None:
    async def known(request: Request, ident: str) -> Upload:
        row = await asyncio.to_thread(uploads.get, ident, owners_of(person_of(request)))
        if row is None:
            raise ApiError(404, f"there is no file {ident[:80]!r}", "not_found", "file_id")
        return row

    documented = described(FileObject)
    documented["openapi_extra"] = {"requestBody": {"content": {"multipart/form-data": {"schema": FORM}}}}

    @app.post("/v1/files", **documented)
    async def upload(request: Request) -> dict[str, Any]:
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise ApiError(400, "a file is uploaded as multipart/form-data", "invalid_value", "file")
        async with request.form(max_files=1, max_fields=10) as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile):
                raise ApiError(400, "file: field required", "missing_required_parameter", "file")
            if not isinstance(purpose, str) or purpose not in get_args(Purpose):
                raise invalid("purpose", f"use one of {', '.join(get_args(Purpose))}")
            if any(field.startswith("expires_after") for field in form):
                raise unsupported("expires_after", "is not supported: a file stays until it is deleted")
            name = (file.filename or "file")[-255:].replace("\0", "")
            row = await asyncio.to_thread(_keep, uploads, file, name, purpose, person_of(request).id)
        return shown(row)

    @app.get("/v1/files", **described(FilePage))
    async def listed(
        request: Request, purpose: str | None = None, after: str | None = None, order: Order = "desc",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    ) -> dict[str, Any]:  # fmt: skip
        owners = owners_of(person_of(request))
        rows = await asyncio.to_thread(uploads.all, purpose, newest_first=order == "desc", owners=owners)
        behind = next((at + 1 for at, row in enumerate(rows) if row.id == after), 0)
        return page_of([shown(row) for row in rows[behind : behind + limit + 1]], limit)

    @app.get("/v1/files/{ident}", **described(FileObject))
    async def retrieved(request: Request, ident: str) -> dict[str, Any]:
        return shown(await known(request, ident))

    @app.get("/v1/files/{ident}/content", **described(None, media="application/octet-stream"))
    async def content(request: Request, ident: str) -> FileResponse:
        row = await known(request, ident)
        return FileResponse(uploads.content(row.id), media_type="application/octet-stream", filename=row.filename)

    @app.delete("/v1/files/{ident}", **described(Deleted))
    async def deleted(request: Request, ident: str) -> dict[str, Any]:
        await known(request, ident)
        await asyncio.to_thread(uploads.delete, ident)
        return {"id": ident, "object": "file", "deleted": True}


def _keep(uploads: Uploads, file: UploadFile, name: str, purpose: str, owner: str) -> Upload:
    uploads.folder.mkdir(parents=True, exist_ok=True)
    ident = f"file-{secrets.token_hex(12)}"
    written: Path = uploads.folder / f".{ident}"
    digest, size = hashlib.sha256(), 0
    try:
        with written.open("wb") as out:
            while block := file.file.read(BLOCK):
                digest.update(block)
                size += len(block)
                out.write(block)
        row = Upload(ident, name, purpose, size, digest.hexdigest(), datetime.now(UTC), owner)
        uploads.add(row, written)
    finally:
        written.unlink(missing_ok=True)
    return row
