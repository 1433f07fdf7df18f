"""The block `{waves}`: an expression, and below it a picture of its plan, drawn when the site is built.

The option `products` says how many products of tiles one task adds up; without it, it is all of a tile's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from plan_pictures import picture, plan_of
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Waves(SphinxDirective):
    """The block itself: the expression, and the picture of its plan."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"products": directives.positive_int}

    def run(self) -> list[nodes.Node]:
        """Return what stands in the page."""
        expression = "\n".join(self.content)
        plan = plan_of(expression, self.options.get("products"))
        label = f"{plan.tasks} tasks in {plan.waves} waves: the plan of {expression}"
        code = nodes.literal_block(expression, expression, language="python")
        return [code, nodes.raw("", f'<div class="waves">{picture(plan, label)}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the block to Sphinx."""
    app.add_directive("waves", Waves)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
