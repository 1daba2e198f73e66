"""A centre's store that isn't a folder of its own: S3-compatible, or whatever fsspec reaches.

Asked:  content that a centre has fetched once, or that its jobs left: where is it kept for all its nodes, or for several centres?
Answer: under its hash, in one place named by a URL: s3://bucket/prefix, file:///shared/forebay. What comes back is checked
        against its name, so the place needs no trust for what it holds, only for keeping it.
Limits: an object is written whole; S3 shows it when it is complete. Keys and endpoint are fsspec's own business (environment, or
        ~/.config/fsspec). Nothing is removed.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

from forebay.data.manifest import is_hash
from forebay.errors import BadInput, Unavailable


class Remote:
    """Content by hash at a URL, each organisation's apart."""

    def __init__(self, url: str) -> None:
        """Raises BadInput for a URL that nothing here can open. Touches no network."""
        try:
            fsspec: Any = importlib.import_module("fsspec")
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise BadInput(
                "The store can't be opened.", asked=url, found=str(error), hint="pip install 'forebay[store]'; or name a folder"
            ) from None
        self.url = url

    def get(self, organisation: str, sha256: str) -> bytes | None:
        """The content of that hash, or None when it isn't there. Content that isn't what its name says counts as not there."""
        try:
            content: bytes = self._files.cat_file(self._path(organisation, sha256))
        except FileNotFoundError:
            return None
        except Exception as error:  # each of fsspec's file systems has errors of its own
            raise self._away(error) from error
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    def has(self, organisation: str, sha256: str) -> bool:
        try:
            return bool(self._files.exists(self._path(organisation, sha256)))
        except Exception as error:
            raise self._away(error) from error

    def put(self, organisation: str, sha256: str, content: bytes) -> None:
        """Keep content. May be said twice; what is there already isn't sent again."""
        if self.has(organisation, sha256):
            return
        path = self._path(organisation, sha256)
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, content)
        except Exception as error:
            raise self._away(error) from error

    def _path(self, organisation: str, sha256: str) -> str:
        if not is_hash(sha256):
            raise BadInput("A chunk's name is a sha256 in 64 small hexadecimal digits.", asked=f"{sha256!r:.80}")
        return f"{self._root}/{organisation}/{sha256[:2]}/{sha256}"

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(
            "The centre's store can't be reached.", asked=self.url, found=f"{type(error).__name__}: {error}".splitlines()[0]
        )
