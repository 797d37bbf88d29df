"""ES modules joined into one script."""

import pytest

from market_data.api import dashboard
from market_data.api.script_bundle import bundle

SOURCES = {
    "main.js": """/** The entry. */
import { PI as pi, area } from "./circle.js";
import {
  Counter,
} from "./counter.js";
import { drawn } from "./library.mjs";

/** @param {number} value @returns {import("./circle.js").Area} */
const twice = (value) => 2 * /** @type {number} */ (value);
""",
    "circle.js": """import { Counter } from "./counter.js";

export const PI = 3.14; // about
export async function area(radius) {
  return PI * radius ** 2;
}
""",
    "counter.js": """/** @typedef {number} Count */
/** @type {Count[]} */ (globalThis.counts) ??= [];
/**
 * Counts.
 */
export class Counter {}
""",
}


def test_modules_become_functions_after_those_that_they_import():
    assert (
        bundle("main.js", SOURCES)
        == """import * as $library from "./library.mjs";
const $counter = (() => {
(globalThis.counts) ??= [];
class Counter {}
return { Counter };
})();
const $circle = (() => {
const { Counter } = $counter;

const PI = 3.14; // about
async function area(radius) {
  return PI * radius ** 2;
}
return { PI, area };
})();
const $main = (() => {
const { PI : pi, area } = $circle;
const {
  Counter,
} = $counter;
const { drawn } = $library;

const twice = (value) => 2 * (value);
return {  };
})();"""
    )


@pytest.mark.parametrize(
    "line",
    [
        "export let changing = 1;",
        "export default 1;",
        'export { area } from "./circle.js";',
        'import "./circle.js";',
        'import * as circle from "./circle.js";',
        'const circle = import("./circle.js");',
        "await 1;",
    ],
)
def test_other_forms_of_import_and_export_are_errors(line: str):
    with pytest.raises(ValueError, match=r"main\.js has a form of import or export"):
        bundle("main.js", {**SOURCES, "main.js": f"{line}\n"})


def test_a_cycle_of_imports_is_an_error():
    cycle = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(ValueError, match=r"a\.js → b\.js → a\.js"):
        bundle("a.js", cycle)


def test_each_file_of_the_dashboard_is_part_of_what_the_page_loads():
    page = dashboard.SOURCES[dashboard.PAGE]
    scripts = "".join(bundle(name, dashboard.SOURCES) for name in dashboard.ENTRIES)
    for name in dashboard.SOURCES.keys() - {dashboard.PAGE}:
        variable = name.removesuffix(".js").replace(".", "_")
        assert f'"assets/dashboard/{name}"' in page or f"const ${variable} =" in scripts, name
