"""How properties draw: the same examples in every run, unless a person asks to explore.

A change is judged by its own tests, not by the luck of a draw: the `settled` profile derives its
examples from the test's source. `HYPOTHESIS_PROFILE=explore make test` draws anew each time; what
it finds becomes an example of its own.
"""

import os

from hypothesis import Phase, settings

# To explain a failure, hypothesis traces every line of many more runs: minutes that CI has not.
_PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)

settings.register_profile(
    "settled", derandomize=True, deadline=None, print_blob=True, phases=_PHASES
)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "settled"))
