# From scores to tables, figures and the report.

# Tables and report show what the SPEC of each method says.
METHOD_FILES = sorted({method_file(m) for _, m, _ in RUNS})


rule collect:
    input:
        runs=runs("results/runs/{dataset}/{method}/{seed}/run.json"),
        scores=runs("results/scores/{dataset}/{method}/{seed}.tsv"),
        over_seeds=over_seeds("results/scores/{dataset}/{method}/seeds.tsv"),
        nulls=nulls("results/nulls/{dataset}/{method}.tsv"),
        comparisons=expand("results/comparisons/{dataset}.tsv", dataset=planned_datasets()),
        prepared=expand("results/data/{dataset}/prepared.h5ad", dataset=planned_datasets()),
    output:
        runs=report("results/tables/runs.tsv", caption="../report/tables.rst", category="Tables"),
        runtime=report("results/tables/runtime.tsv", caption="../report/tables.rst", category="Tables"),
        separation=report("results/tables/separation.tsv", caption="../report/tables.rst", category="Tables"),
        gene_sets=report("results/tables/gene_sets.tsv", caption="../report/tables.rst", category="Tables"),
        top_pathways=report("results/tables/top_pathways.tsv", caption="../report/tables.rst", category="Tables"),
        comparisons=report("results/tables/comparisons.tsv", caption="../report/tables.rst", category="Tables"),
        scaling=report("results/tables/scaling.tsv", caption="../report/tables.rst", category="Tables"),
        full_time=report("results/tables/full_time.tsv", caption="../report/tables.rst", category="Tables"),
        scores="results/tables/scores.tsv",
    log:
        "results/logs/collect.log",
    conda:
        ENVIRONMENT
    params:
        shown=SHOWN,
        code=lambda wildcards: code("collect.py", *METHOD_FILES),
    script:
        "../scripts/collect.py"


rule test_claims:
    input:
        runs="results/tables/runs.tsv",
        runtime="results/tables/runtime.tsv",
        scores="results/tables/scores.tsv",
        claims=CLAIMS,
    output:
        report("results/tables/claims.tsv", caption="../report/tables.rst", category="Claims"),
    log:
        "results/logs/test_claims.log",
    conda:
        ENVIRONMENT
    params:
        shown=SHOWN,
        code=lambda wildcards: code("test_claims.py", *METHOD_FILES),
    script:
        "../scripts/test_claims.py"


rule extract_cells:
    input:
        unpack(figure_run),
    output:
        "results/tables/cells_{figure}.tsv.gz",
    log:
        "results/logs/extract_cells/{figure}.log",
    conda:
        ENVIRONMENT
    params:
        figure=figure,
        code=lambda wildcards: code("extract_cells.py"),
    script:
        "../scripts/extract_cells.py"


rule draw:
    input:
        unpack(figure_tables),
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        svg="results/figures/{figure}.svg",
    log:
        "results/logs/draw/{figure}.log",
    conda:
        ENVIRONMENT
    params:
        figure=figure,
        shown=SHOWN,
        code=lambda wildcards: code("draw.py", f"factorbench/reporting/plots/{figure(wildcards)['kind']}.py"),
    script:
        "../scripts/draw.py"


rule report:
    input:
        tables=expand("results/tables/{table}.tsv", table=TABLES),
        figures=expand("results/figures/{figure}.svg", figure=config["figures"]),
        prepared=expand("results/data/{dataset}/prepared.h5ad", dataset=planned_datasets()),
        templates=sorted(os.path.relpath(path) for path in (SCRIPTS / "factorbench/reporting/templates").iterdir()),
    output:
        report("results/report.html", caption="../report/report.rst", category="Report"),
    log:
        "results/logs/report.log",
    conda:
        ENVIRONMENT
    params:
        shown=SHOWN,
        code=lambda wildcards: code("report.py", *METHOD_FILES),
    script:
        "../scripts/report.py"


# Downloads are not among the inputs, although their hashes are recorded: deleting them should not repeat the fits
# after another download. A change of a download changes the data prepared from it.
rule manifest:
    input:
        prepared=expand("results/data/{dataset}/prepared.h5ad", dataset=planned_datasets()),
        factors=runs("results/runs/{dataset}/{method}/{seed}/factors.h5ad"),
        runs=runs("results/runs/{dataset}/{method}/{seed}/run.json"),
        jobs=runs("results/runs/{dataset}/{method}/{seed}/job.json"),
        models=runs("results/runs/{dataset}/{method}/{seed}/model"),
        scores=runs("results/scores/{dataset}/{method}/{seed}.tsv"),
        over_seeds=over_seeds("results/scores/{dataset}/{method}/seeds.tsv"),
        nulls=nulls("results/nulls/{dataset}/{method}.tsv"),
        comparisons=expand("results/comparisons/{dataset}.tsv", dataset=planned_datasets()),
        tables=expand("results/tables/{table}.tsv", table=TABLES),
        cells=cells_tables(),
        figures=expand("results/figures/{figure}.{kind}", figure=config["figures"], kind=["png", "svg"]),
        report="results/report.html",
    output:
        "results/manifest.json",
    log:
        "results/logs/manifest.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        given=given,
        code=lambda wildcards: code("manifest.py"),
    script:
        "../scripts/manifest.py"
