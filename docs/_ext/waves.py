"""The block `{waves}`: an expression, and below it a picture of its plan, drawn when the site is built.

The option `products` says how many products of tiles one task adds up; without it, it is all of a tile's.
(A run chooses that by its executor; a picture must not depend on the machine that builds it.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import wrenla as wl
from wrenla.planning.cut import Cut
from wrenla.planning.graph import Graph


class Waves(SphinxDirective):
    """The block itself."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"products": directives.positive_int}

    def run(self) -> list[nodes.Node]:
        """Return what stands in the page."""
        expression = "\n".join(self.content)
        plan = wl.plan(eval(expression, {"np": np, "wl": wl}))
        cut = Cut("fixed", self.options["products"]) if "products" in self.options else Cut()
        picture = replace(plan, cut=cut, graph=Graph(plan.graph.tiles, cut, plan.model)).draw()
        code = nodes.literal_block(expression, expression, language="python")
        return [code, nodes.raw("", f'<div class="waves">{picture}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the block to Sphinx."""
    app.add_directive("waves", Waves)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
