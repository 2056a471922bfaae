"""Importing this stops the collection of garbage, until ``gc.enable()``.

Imports and pytest's collection of tests leave hardly any; to look for it takes a third
of their time.
"""

import gc

gc.disable()
