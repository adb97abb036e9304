"""`pagelet up` under load: replicas come and go, and nobody's answer suffers by it."""

import os
import threading

import pytest

from local_client import chat
from local_processes import until_sync
from local_up import Up, resource, write


class Load:
    """Clients that ask one question after the other until told to stop."""

    def __init__(self, url, clients):
        self.answers = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, url):
        while not self._over.is_set():
            self.answers.append(
                chat(url, timeout_s=300, temperature=0, max_tokens=400, ignore_eos=True)
            )

    def end(self):
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.answers


MODEL = resource(
    model={"source": "dummy://tiny"},
    engine={"maxNumSeqs": 4, "maxModelLen": 512},
    scaling={
        "minReplicas": 1,
        "maxReplicas": 2,
        "scaleDown": {"window": "8s", "settle": "0s"},
    },
)


def ready(up):
    return len(up.routes()["models"][0]["revisions"][0]["endpoints"])


@pytest.mark.skipif(
    "PAGELET_SLOW_TESTS" not in os.environ,
    reason="a load and its end take over a minute; PAGELET_SLOW_TESTS=1 runs this",
)
def test_a_second_replica_comes_with_the_load_and_goes_with_it_and_no_request_fails(tmp_path):
    with Up(write(tmp_path / "model.yaml", MODEL), state_dir=tmp_path / "state", real=True) as up:
        up.wait_for("Serving")
        load = Load(up.url, clients=6)
        try:
            up.wait_for("Stable", replicas=2)
            until_sync(lambda: ready(up) == 2, within_s=120)
        finally:
            answers = load.end()
        until_sync(lambda: ready(up) == 1, within_s=120, what=up.story)
        assert chat(up.url, max_tokens=4).status == 200
        assert {answer.status for answer in answers} == {200}
        assert "sequences at once expected" in up.wait_for("Stable", replicas=2)["message"]
