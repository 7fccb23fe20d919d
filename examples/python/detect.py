"""Reads records of EKS, AKS or GKE from a file or standard input, one per line. Writes findings to standard output, one
per line, as `portcullis run --format ndjson` writes alerts. Writes the number of records of each outcome to standard
error.

    python detect.py DETECTOR.wasm [FILE]
"""

import json
import sys
import time
from collections import Counter

from wasmtime import Config, Engine, Store, Trap, WasmtimeError
from wasmtime.component import Component, Linker, Variant

INTERFACE = "portcullis:detection/records@1.0.0"

# Limits for one record. An instruction takes about one unit of fuel, and a record that alerts takes at most about 300
# units per byte. Unlike time, fuel is the same on every machine.
MEMORY = 256 << 20
FUEL = 10_000_000
FUEL_PER_BYTE = 2_000


class Fault(Exception):
    """The detector trapped, took too much memory or ran out of fuel."""


class Detector:
    def __init__(self, path):
        config = Config()
        config.consume_fuel = True
        self.engine = Engine(config)
        self.component = Component.from_file(self.engine, path)
        interface = self.component.get_export_index(INTERFACE)
        self.export = interface and self.component.get_export_index("detect", interface)
        if self.export is None:
            raise ValueError(f"{path} does not export {INTERFACE}")
        self.start()

    def start(self):
        self.store = Store(self.engine)
        self.store.set_limits(memory_size=MEMORY, instances=10, tables=10, memories=10)
        self.store.set_fuel(FUEL)
        # The linker is empty, so a component with imports does not start.
        self.detect_record = Linker(self.engine).instantiate(self.store, self.component).get_func(self.store, self.export)

    def detect(self, record):
        """Returns the findings, or a Variant with the tag and payload of the WIT's `detect-error`. wasmtime returns the
        bare value of a result if the Python types of success and error differ."""
        try:
            self.store.set_fuel(FUEL + FUEL_PER_BYTE * len(record))
            return self.detect_record(self.store, record)
        except (Trap, WasmtimeError) as error:
            # An instance cannot be called again after a trap.
            self.start()
            raise Fault(str(error).strip().splitlines()[-1].strip()) from error


def line(finding):
    """Formats a finding as a line of JSON. The context is not parsed, because a float would round long numbers."""
    fields = {name.replace("-", "_"): value for name, value in vars(finding).items()}
    context = fields.pop("context")
    return f'{json.dumps(fields, ensure_ascii=False)[:-1]}, "context": {context}}}\n'


def main():
    detector = Detector(sys.argv[1])
    source = open(sys.argv[2], "rb") if len(sys.argv) > 2 else sys.stdin.buffer
    output = open(sys.stdout.fileno(), "w", encoding="utf-8", newline="\n", closefd=False)
    counts = Counter(evaluated=0)
    began = time.perf_counter()
    # Iterating over bytes splits at line feeds only.
    for number, record in enumerate(source, 1):
        try:
            findings = detector.detect(record.removesuffix(b"\n").decode())
        except UnicodeDecodeError:
            counts["not-utf8"] += 1
            continue
        except Fault as fault:
            counts["fault"] += 1
            print(f"record {number}: {fault}", file=sys.stderr)
            continue
        if isinstance(findings, Variant):
            counts[findings.tag] += 1
            continue
        counts["evaluated"] += 1
        output.writelines(map(line, findings))
    output.flush()
    seconds = time.perf_counter() - began
    print(json.dumps(counts), file=sys.stderr)
    print(f"{counts.total() / seconds:.0f} records/s", file=sys.stderr)


main()
