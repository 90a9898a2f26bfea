"""One module a kind of figure: ``plot(tables, spec, config) -> Figure``, from tidy tables; `style.save` writes it."""
