# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import settings

# Its assertions show both sides when they fail, as those of a test do.
pytest.register_assert_rewrite("ansible_collections.virtnet.qos.tests.unit.driver")

# A machine that is busy with something else is no mistake of the code.
settings.register_profile("whenever", deadline=None)
settings.load_profile("whenever")
