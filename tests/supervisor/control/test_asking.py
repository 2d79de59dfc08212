import socket
import threading
from collections.abc import ItemsView
from pathlib import Path

from appliance.supervisor.control.asking import Question, ask

REFUSAL = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"


class Late(dict[str, str]):
    """Headers that are written once the worker has closed the connection."""

    closed = threading.Event()

    def items(self) -> ItemsView[str, str]:
        """Blocks until then."""
        self.closed.wait()
        return super().items()


async def test_a_worker_that_refuses_before_it_has_read_everything_is_heard(tmp_path: Path) -> None:
    path, headers = tmp_path / "worker.sock", Late()

    def refuse(listening: socket.socket) -> None:
        with listening.accept()[0] as one:
            one.sendall(REFUSAL)
        headers.closed.set()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        worker = threading.Thread(target=refuse, args=(listening,))
        worker.start()
        said = await ask(1, path, Question("POST", "/v1/config/apply", headers=headers))
        worker.join()
    assert (said.status, said.body) == (403, b"no")
