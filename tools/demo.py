"""The main job, its tables kept for the book: python tools/demo.py

It is `recinc demo` on the whole stream, some minutes. Writes recinc_nb/results/demo.json.
"""
import json
from tempfile import TemporaryDirectory
from record import Record
from recinc_nb.core import scale
from recinc_nb.demo import demo

record = Record(__file__, 'demo')

@record.part(())
def tables():
    "Both tables of the demo, and what the factors change."
    with TemporaryDirectory() as d: return json.loads((demo(events=scale(None, 200), out=d)/'demo.json').read_text())


if __name__=='__main__': record.main()
