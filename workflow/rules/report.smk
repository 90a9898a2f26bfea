# From scores to tables, figures and the page that a biologist opens.


rule collect:
    input:
        runs=runs("results/runs/{dataset}/{method}/{seed}/run.json"),
        scores=runs("results/scores/{dataset}/{method}/{seed}.tsv"),
        over_seeds=over_seeds("results/scores/{dataset}/{method}/seeds.tsv"),
        comparisons=expand("results/comparisons/{dataset}.tsv", dataset=planned_datasets()),
        prepared=expand("results/data/{dataset}/prepared.h5ad", dataset=planned_datasets()),
        code=code("scaling.py", "tables.py"),
    output:
        runs=report("results/tables/runs.tsv", caption="../report/tables.rst", category="Tables"),
        runtime=report("results/tables/runtime.tsv", caption="../report/tables.rst", category="Tables"),
        separation=report("results/tables/separation.tsv", caption="../report/tables.rst", category="Tables"),
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
        reference=config["report"]["reference"],
        top=config["report"]["top"],
        paper=config["report"]["paper_minutes"],
    script:
        "../scripts/collect.py"


rule judge:
    input:
        runs="results/tables/runs.tsv",
        runtime="results/tables/runtime.tsv",
        scores="results/tables/scores.tsv",
        claims=claims_file,
        code=code("claims.py", "evidence.py", "scaling.py", "tables.py", "words.py"),
    output:
        report("results/tables/claims.tsv", caption="../report/tables.rst", category="Claims"),
    log:
        "results/logs/judge.log",
    conda:
        ENVIRONMENT
    script:
        "../scripts/judge.py"


rule pick:
    input:
        unpack(figure_run),
        code=code("tables.py"),
    output:
        "results/tables/cells_{figure}.tsv.gz",
    log:
        "results/logs/pick/{figure}.log",
    conda:
        ENVIRONMENT
    params:
        figure=figure,
    script:
        "../scripts/pick.py"


rule draw:
    input:
        unpack(figure_tables),
        code=lambda wildcards: code(
            "scaling.py", "tables.py", "words.py", "plots/style.py", f"plots/{figure(wildcards)['kind']}.py"
        ),
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
    script:
        "../scripts/draw.py"


rule report:
    input:
        tables=expand("results/tables/{table}.tsv", table=TABLES),
        figures=expand("results/figures/{figure}.svg", figure=config["figures"]),
        runs=runs("results/runs/{dataset}/{method}/{seed}/run.json"),
        prepared=expand("results/data/{dataset}/prepared.h5ad", dataset=planned_datasets()),
        template=os.path.relpath(PACKAGE.parents[1] / "report" / "report.html.j2"),
        code=code("report.py", "findings.py", "scaling.py", "tables.py", "words.py"),
    output:
        report("results/report.html", caption="../report/report.rst", category="Report"),
    log:
        "results/logs/report.log",
    conda:
        ENVIRONMENT
    script:
        "../scripts/report.py"


# Downloads are not among its inputs, although it hashes them: who deleted them has not to fetch, and so to fit, again.
# Whatever changes in them changes what is prepared from them.
rule manifest:
    input:
        prepared=expand("results/data/{dataset}/prepared.h5ad", dataset=planned_datasets()),
        factors=runs("results/runs/{dataset}/{method}/{seed}/factors.h5ad"),
        runs=runs("results/runs/{dataset}/{method}/{seed}/run.json"),
        jobs=runs("results/runs/{dataset}/{method}/{seed}/job.json"),
        models=runs("results/runs/{dataset}/{method}/{seed}/model"),
        scores=runs("results/scores/{dataset}/{method}/{seed}.tsv"),
        over_seeds=over_seeds("results/scores/{dataset}/{method}/seeds.tsv"),
        comparisons=expand("results/comparisons/{dataset}.tsv", dataset=planned_datasets()),
        tables=expand("results/tables/{table}.tsv", table=TABLES),
        cells=[
            f"results/tables/cells_{name}.tsv.gz"
            for name, figure in config["figures"].items()
            if figure["kind"] == "scatter"
        ],
        figures=expand("results/figures/{figure}.{kind}", figure=config["figures"], kind=["png", "svg"]),
        report="results/report.html",
        code=code("provenance.py"),
    output:
        "results/manifest.json",
    log:
        "results/logs/manifest.log",
    conda:
        ENVIRONMENT
    params:
        given=given,
    script:
        "../scripts/manifest.py"
