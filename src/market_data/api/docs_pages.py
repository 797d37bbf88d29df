"""Swagger UI and ReDoc as render plugins, with the language and the dark colours that Litestar's pages lack."""

from typing import Final

from litestar.openapi.plugins import RedocRenderPlugin, SwaggerRenderPlugin

REPLACED: Final = {
    b"https://cdn.redoc.ly/redoc/logo-mini.svg": b"data:,",
    b"color: #0e7c86;": b"color: var(--pattern, #0e7c86);",
    b"color: white;\\n      background": b"color: var(--chosen-text, white);\\n      background",
    b"background-color: white;": b"background-color: var(--panel, white);",
}
"""Parts of ReDoc's script: an image that it requests from its publisher, and colours that its theme does not reach."""

# Follows the theme chosen on the dashboard, else that of the system. The style avoids a white page while scripts load.
HEAD: Final = """<link rel="icon" href="data:,"><meta name="color-scheme" content="dark light">
<script>
let theme;
try { theme = localStorage.getItem("market-data.theme"); } catch {}
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (theme ? theme === "dark" : system.matches);
const root = document.documentElement;
const apply = () => { root.style.colorScheme = isDark() ? "dark" : "light"; root.classList.toggle("dark-mode", isDark()); };
apply();
const completed = [() => {
  for (const pre of document.querySelectorAll("pre"))
    if (pre.scrollWidth > pre.clientWidth || pre.scrollHeight > pre.clientHeight) pre.tabIndex = 0;
}];
let isQueued = false;
new MutationObserver(() => {
  if (isQueued) return;
  isQueued = true;
  requestAnimationFrame(() => { isQueued = false; for (const complete of completed) complete(); });
}).observe(root, { childList: true, subtree: true });
</script>"""
"""Adds what the markup of the libraries lacks for keyboards and screen readers, whenever they have rendered."""

# A link inside of a button can't be reached; the button opens the same operation.
SWAGGER_HEAD: Final = f"""{HEAD}<script>
system.addEventListener("change", apply);
completed.push(() => {{
  for (const link of document.querySelectorAll(".opblock-summary-path a[href]")) link.removeAttribute("href");
  for (const field of document.querySelectorAll(":is(select, textarea):not([aria-label])")) {{
    if (field.id !== "servers" && field.labels.length) continue;
    const parameter = field.closest("[data-param-name]")?.dataset.paramName;
    const other = field.matches("textarea") ? "Request body" : field.id === "servers" ? "Server" : "Choice";
    const isExample = field.matches(".examples-select-element");
    field.setAttribute("aria-label", isExample ? `Example of ${{parameter ?? "the body"}}` : (parameter ?? other));
  }}
}});
</script>"""

# Darker or lighter colours than Swagger UI's, for a contrast of 4.5.
SWAGGER_STYLE: Final = """<style>
body { margin: 0; }
:root:not(.dark-mode) {
  .swagger-ui .opblock-get .opblock-summary-method, .swagger-ui .btn.execute { background: #1d66b5 !important; }
  .swagger-ui .opblock-post .opblock-summary-method { background: #18794e !important; }
  .swagger-ui .opblock-patch .opblock-summary-method { background: #0f766e !important; }
  .swagger-ui .opblock-put .opblock-summary-method { background: #9a5800 !important; }
  .swagger-ui .opblock-delete .opblock-summary-method { background: #c0292b !important; }
  .swagger-ui .info .title small { background: #5c6370; }
  .swagger-ui .info .title small.version-stamp { background: #4c6b02; }
  .swagger-ui .btn.authorize, .swagger-ui .btn.authorize span { color: #18794e; }
  .swagger-ui .json-schema-2020-12-expand-deep-button { color: #5c6370; }
}
.swagger-ui .btn.cancel, .swagger-ui .required::after { color: light-dark(#c62828, #ff9a9a) !important; }
.swagger-ui .parameter__in, .swagger-ui .parameter__extension { color: light-dark(#5c6370, #a9b4c6); }
.swagger-ui .microlight [style*="211, 99, 99"] { color: #ff9a9a !important; }
.dark-mode .swagger-ui :is(.examples-select__section-label, .headers td, .header-col) { color: #e4e6e6; }
</style>"""
REDOC_OPTIONS: Final = """<script>
system.addEventListener("change", () => location.reload());
const options = isDark() ? { theme: {
  colors: {
    primary: { main: "#5cb2ff" }, success: { main: "#4fd58a" }, warning: { main: "#f2c744" }, error: { main: "#ff7b7b" },
    text: { primary: "#e6ebf4", secondary: "#95a1b6" },
    border: { dark: "#3a4559", light: "#222a38" },
    responses: {
      success: { backgroundColor: "#10261b" }, error: { backgroundColor: "#2c1618" },
      redirect: { color: "#f2c744", backgroundColor: "#2a2410" }, info: { color: "#5cb2ff", backgroundColor: "#132235" },
    },
  },
  schema: { nestedBackground: "#171d29", linesColor: "#3a4559" },
  typography: { code: { color: "#ff8d61", backgroundColor: "#171d29" } },
  sidebar: { backgroundColor: "#171d29", textColor: "#e6ebf4" },
  rightPanel: { backgroundColor: "#080b10", servers: { overlay: { backgroundColor: "#171d29", textColor: "#e6ebf4" },
    url: { backgroundColor: "#222a38" } } },
  codeBlock: { backgroundColor: "#171d29" },
} } : {};
</script>"""

# Colours that ReDoc's theme does not reach.
REDOC_STYLE: Final = """<style>
body { margin: 0; }
.dark-mode { --pattern: #56c8d8; --chosen-text: #0f131b; --panel: #171d29; }
.dark-mode body { background: #0f131b; }
.dark-mode h5, .dark-mode h5 span { color: #95a1b6 !important; }
.dark-mode .react-tabs__tab--selected { background: #3a4559 !important; color: #e6ebf4 !important; }
</style>"""


def completed(page: bytes) -> bytes:
    """Return a page that says that it is in English, and ReDoc's with its options."""
    page = page.replace(b"<html>", b'<html lang="en">', 1)
    return page.replace(b",undefined,document.getElementById", b",options,document.getElementById", 1)


SWAGGER: Final = SwaggerRenderPlugin(
    js_url="assets/swagger-ui-bundle.js",
    css_url="assets/swagger-ui.css",
    standalone_preset_js_url="assets/swagger-ui-standalone-preset.js",
    favicon=SWAGGER_HEAD,
    style=SWAGGER_STYLE,
)
REDOC: Final = RedocRenderPlugin(
    js_url="assets/redoc.standalone.js", google_fonts=False, favicon=HEAD + REDOC_OPTIONS, style=REDOC_STYLE
)
