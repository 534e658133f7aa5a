"""What is known of each service, as data: how tightly it holds, what takes its place, what to do first, who says so.

The first rule that fits a resource judges it. docs/reference/holds.md is generated from these rules.
"""

from migrate.assess.knowledge.compute import COMPUTE
from migrate.assess.knowledge.data import DATA
from migrate.assess.knowledge.messaging import MESSAGING
from migrate.assess.knowledge.names_and_keys import NAMES_AND_KEYS
from migrate.assess.knowledge.rule import ASSUMED, Rule

RULES: tuple[Rule, ...] = (*DATA, *COMPUTE, *MESSAGING, *NAMES_AND_KEYS)

__all__ = ["ASSUMED", "RULES", "Rule"]
