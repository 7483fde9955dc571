//! The pages as people see them: in a headless Chromium.

use anyhow::{Result, ensure};

use super::context::Context;
use super::devtools::Browser;

/// The home page has its title, heading, style and pictures.
pub(super) fn home_page(context: &mut Context<'_>) -> Result<()> {
    let mut browser = Browser::start(&Context::keep("chromium")?, None)?;
    browser.load(&context.shared()?.client.url("/"))?;
    browser.screenshot(&Context::keep("home.png")?)?;
    browser.ensure("a title", "document.title.toLowerCase().includes('xenlet')")?;
    browser.ensure(
        "one heading that is shown",
        "(h => h.length === 1 && h[0].offsetHeight > 0)(document.querySelectorAll('h1'))",
    )?;
    browser.ensure(
        "a stylesheet with rules",
        "[...document.styleSheets].some(s => s.cssRules.length > 5)",
    )?;
    // The browser's own style is a serif font on a transparent body with a margin of eight pixels.
    browser.ensure("the style applied", "getComputedStyle(document.body).fontFamily !== getComputedStyle(document.createElement('p')).fontFamily && getComputedStyle(document.body).margin !== '8px'")?;
    browser.ensure(
        "pictures, all loaded",
        "(i => i.length > 0 && i.every(p => p.complete && p.naturalWidth > 0))([...document.images])",
    )?;
    browser.ensure("the links to this site lead somewhere", LINKS)?;
    Ok(())
}

const LINKS: &str = "Promise.all([...document.links].filter(l => l.origin === location.origin)
    .map(l => fetch(l.href).then(r => r.ok))).then(all => all.length > 0 && all.every(ok => ok))";

/// The status page shows live numbers: they change while one looks.
pub(super) fn status_page(context: &mut Context<'_>) -> Result<()> {
    let mut browser = Browser::start(&Context::keep("chromium")?, None)?;
    browser.load(&context.shared()?.client.url("/status"))?;
    browser.ensure("a heading", "document.querySelector('h1') !== null")?;
    let text = "document.body.innerText";
    let before = browser.evaluate(text)?;
    let after = browser.evaluate(&format!(
        "new Promise(done => setTimeout(() => done({text}), 5000))"
    ))?;
    browser.screenshot(&Context::keep("status.png")?)?;
    ensure!(
        before != after,
        "the page shows the same for five seconds: {before}"
    );
    ensure!(
        before
            .as_str()
            .is_some_and(|text| text.contains("µs") || text.contains("us") || text.contains("ms")),
        "no times on it: {before}"
    );
    Ok(())
}
