"""How properties draw: the same examples in every run, unless a person asks to explore.

A change is judged by its own tests, not by the luck of a draw: the `settled` profile derives its
examples from the test's source. `HYPOTHESIS_PROFILE=explore make test` draws anew each time; what
it finds becomes an example of its own.
"""

import os

from hypothesis import settings

settings.register_profile("settled", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "settled"))
