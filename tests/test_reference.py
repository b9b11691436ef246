"""The pages of errata, terms and papers say what the chapters say, and every name in a chapter leads to its row."""
import re
import pytest
import reference
from helpers import root
from reference import ERRATA, GLOSSARY, REFERENCES, linked, rows

# What the five articles have: an id is never used for anything else, so one that was withdrawn is left out
IDS = [f'E{a}.{n}' for a,last in enumerate((27, 20, 18, 22, 23)) for n in range(1, last+1) if (a, n) not in ((2, 8), (3, 17))]


def test_the_pages_are_what_the_chapters_give(): assert not (made := reference.stale()), f'{[p.stem for p in made]}: run python tools/reference.py'


def test_nothing_is_missing_and_nothing_is_there_twice(): assert not (found := reference.wrong()), '\n'.join(found)


def test_each_error_has_its_row_in_order():
    assert [r[0] for r in rows(ERRATA) if r[0]!='E3.7b']==IDS and len(IDS)==108
    assert all(len(r)==4 and all(r) for r in rows(ERRATA))


def test_what_is_to_come_is_an_error_of_the_register(): assert reference.COMING.keys() <= {r[0] for r in rows(ERRATA)}


def test_the_table_of_what_a_reader_meets_has_its_form():
    "Its numbers are made by a command, now and then; a row is a chapter that was there."
    import readers
    lines = readers.PAGE.read_text().split(readers.START)[1].split(readers.END)[0].strip().splitlines()
    rows = [[c.strip() for c in o.strip('|').split('|')] for o in lines if o.startswith('|')][2:]
    assert len(rows)>30 and all(len(r)==1+len(readers.COLUMNS) and re.fullmatch(r'\d\d[a-z]?_\w+', r[0]) for r in rows)
    assert all(re.fullmatch(r'[\d.]+( %)?|–', c) for r in rows for c in r[1:]) and 'meet an aim' in lines[-1]
    one = readers.measure(readers.Nb(root/'nbs'/'31a_settings.ipynb'))
    assert one.keys()==readers.COLUMNS.keys() and one['recall']==8 and one['exercises']==3 and 0<one['picture']<1


def test_half_of_the_errors_are_shown(): assert 2*sum('](' in r[3] and 'to come' not in r[3] for r in rows(ERRATA))>=len(IDS)


def test_terms_and_papers_are_told_whole():
    assert 80<=len(rows(GLOSSARY)) and all(len(r)==4 and r[2].endswith('.') for r in rows(GLOSSARY))
    assert all(len(r)==5 and re.search(reference.YEAR, r[0]) for r in rows(REFERENCES))


@pytest.fixture
def changed(tmp_path, monkeypatch):
    "A page with a line changed, in the place of the real one"
    def change(name, was, now):
        page = getattr(reference, name)
        new = tmp_path/page.name
        assert was in (text := page.read_text())
        new.write_text(text.replace(was, now, 1))
        monkeypatch.setattr(reference, name, new)
        monkeypatch.setattr(reference, 'PAGES', tuple(new if p==page else p for p in reference.PAGES))
        monkeypatch.setattr(reference, 'LAST', {new if p==page else p: f for p,f in reference.LAST.items()})
        for o in (reference.register, reference.terms, reference.named): o.cache_clear()
        return reference.wrong()
    yield change
    monkeypatch.undo()
    for o in (reference.register, reference.terms, reference.named): o.cache_clear()


@pytest.mark.parametrize('name,was,now,said', [
    ('ERRATA', '</a>E0.4 |', '</a>E0.5 |', 'E0.4 is not in the register'),
    ('ERRATA', '</a>E0.4 |', '</a>E0.5 |', 'e0.5 stands there twice'),
    ('ERRATA', '</a>E4.23 |', '</a>E4.24 |', 'E4.24: no chapter has it'),
    ('GLOSSARY', '</a>prequential |', '</a>prescriptive |', '*Prequential* looks like the definition of a term'),
    ('GLOSSARY', '</a>anchor |', '</a>ancestor |', 'ancestor: no chapter has it'),
    ('GLOSSARY', '</a>anchor |', '</a>regret |', 'stands after regret; keep the order'),
    ('REFERENCES', '10.1109/MC.2009.263', '10.1109/MC.2009.264', '10.1109/mc.2009.263, which is not in'),
    ('REFERENCES', '10.1109/MC.2009.263', '10.1109/MC.2009.264', 'Volinsky, 2009: no chapter has it'),
    ('REFERENCES', '</a>Zinkevich, 2003', '</a>Zinkevich, 2002', 'but 84_references says Zinkevich, 2002'),
    ('REFERENCES', '</a>Cover, 1965', '</a>Lover, 1965', 'as Cover, 1965, but 84_references says Lover'),
])
def test_a_mistake_is_named(changed, name, was, now, said): assert any(said in o for o in changed(name, was, now))


@pytest.mark.parametrize('name', ['ERRATA', 'GLOSSARY', 'REFERENCES'])
def test_a_last_column_that_is_typed_is_written_again(changed, name):
    page = getattr(reference, name)
    text = page.read_text()
    changed(name, rows(page)[1][-1] + ' |', 'somewhere |')
    assert getattr(reference, name)!=page and reference.page(getattr(reference, name))==text


def test_links_of_the_site():
    "The first mention of an error on a page can be linked to; code, formulas, headings and links stay as they are."
    path,seen = root/'nbs'/'20_losses.ipynb', set()
    def to(id, at=True, up=''): return f'<a{f" id={chr(34)}{id.lower()}{chr(34)}"*at} href="{up}errata.html#{id.lower()}">{id}</a>'
    assert linked('One (E0.4), again E0.4.', path, seen)==f'One ({to("E0.4")}), again {to("E0.4", at=False)}.'
    assert linked('E3.6 to E3.8', path, seen)==f'{to("E3.6")} to <a id="e3.7"></a><a id="e3.7b"></a>{to("E3.8")}'
    for o in ('`E0.4`', '```\nE0.4\n```', '$E0.4$', '$$\nE0.4\n$$', '[E0.4](x.html)', '## E0.4', '| E0.4 |', '<a href="E0.4">', 'E5.1', 'E0.4.1', 'ME0.4'): assert linked(o, path, set())==o
    assert linked('E0.4', root/'nbs'/'solutions'/'x.ipynb', set())==to('E0.4', up='../')
    assert linked('*regret*, *regret*', path, seen)=='*<a href="glossary.html#regret">regret</a>*, *regret*'
    assert linked('a *Mini-batch* of *nothing*', path, set())=='a *<a href="glossary.html#mini-batch">Mini-batch</a>* of *nothing*'
    assert linked('*regret* E0.4', GLOSSARY, set())==f'*regret* {to("E0.4")}'
    assert linked('E0.4', ERRATA, set())==to('E0.4').replace('id="e0.4"', 'id="e0.4-shown"')


def test_anchors(): assert [reference.anchor(o) for o in ('Järvelin and Kekäläinen, 2002', 'E0.4', 'mini-batch')]==['jarvelin-and-kekalainen-2002', 'e0.4', 'mini-batch']


def test_keys_of_one_paper():
    key = reference.key
    assert key('https://doi.org/10.48550/arXiv.1711.05101')==key('https://arxiv.org/abs/1711.05101')=='arxiv:1711.05101'
    assert key('https://doi.org/10.1016/S0893-6080(05)80023-1')==key('https://doi.org/10.1016/S0893-6080%2805%2980023-1')
    assert key('https://doi.org/10.1109/MC.2009.263')!=key('https://doi.org/10.1109/MC.2009.26')
