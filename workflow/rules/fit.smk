# One run: a method on a dataset with a seed. Nothing is run beside it, so that its clock is not disturbed: it keeps every
# core of this machine, and `timed` (one in profiles/default) keeps runs apart whose jobs share a machine otherwise.


rule fit:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
        checked="results/data/{dataset}/checked.json",
        code=method_code,
    output:
        factors="results/runs/{dataset}/{method}/{seed}/factors.h5ad",
        run="results/runs/{dataset}/{method}/{seed}/run.json",
        job="results/runs/{dataset}/{method}/{seed}/job.json",
        model=directory("results/runs/{dataset}/{method}/{seed}/model"),
    log:
        "results/logs/fit/{dataset}/{method}/{seed}.log",
    benchmark:
        "results/benchmarks/fit/{dataset}/{method}/{seed}.tsv"
    priority: 10
    conda:
        ENVIRONMENT
    threads: fit_threads
    resources:
        timed=1,
    params:
        use=lambda wildcards: method(wildcards)["use"],
        params=lambda wildcards: settings.params(config, wildcards.dataset, wildcards.method),
        budget=lambda wildcards: method(wildcards)["budget"],
        timeout=lambda wildcards: method(wildcards)["timeout"],
        device=config["device"],
    script:
        "../scripts/fit.py"
