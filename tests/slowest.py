"""Prints the slowest tests of a JUnit file of ctest: slowest.py FILE COUNT."""

import sys
import xml.etree.ElementTree as ElementTree


def main(path, count):
    cases = ElementTree.parse(path).getroot().iter("testcase")
    times = sorted(((float(case.get("time") or 0), case.get("name")) for case in cases), reverse=True)
    print(f"The {min(count, len(times))} slowest of {len(times)} tests:")
    for seconds, name in times[:count]:
        print(f"{seconds:9.2f} s  {name}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
