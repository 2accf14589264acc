"""The documents: what they link to exists."""

from __future__ import annotations

import re

import pytest
from repository import ROOT

DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('**/*.md'))]


def link_targets(text):
    """Return the targets of Markdown links and pictures, without those into the web."""
    targets = re.findall(r'\]\(([^)\s]+)\)', text)
    return [t.split('#')[0] for t in targets if not re.match(r'https?:|mailto:|#', t)]


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: path.name)
def test_every_link_into_the_tree_leads_somewhere(document):
    missing = [
        target
        for target in link_targets(document.read_text(encoding='utf-8'))
        if not (document.parent / target).exists()
    ]
    assert missing == []


def test_links_are_found():
    text = 'see [a](docs/a.md#b) and ![p](p.png), not [web](https://x.org/a) nor [here](#there)'
    assert link_targets(text) == ['docs/a.md', 'p.png']
