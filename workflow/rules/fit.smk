# One run: a method on a dataset with a seed. `timed` (one in profiles/default; profiles/slurm gives each run a node of its
# own) keeps runs from disturbing each other's clock. `threads` keeps the cores of a run from all other jobs; what else is run,
# is run on cores that it leaves free. For a machine on which that disturbs as well, a profile can keep all of them:
# `set-threads: fit=16`; a run uses its own only. What else is asked for here, a scheduler on a cluster goes by.


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
    priority: fit_priority
    conda:
        ENVIRONMENT
    threads: fit_threads
    resources:
        timed=1,
        gpu=fit_gpu,
        mem_mb=fit_memory,
        runtime=fit_minutes,
    params:
        use=lambda wildcards: method(wildcards)["use"],
        params=lambda wildcards: settings.params(config, wildcards.dataset, wildcards.method),
        budget=lambda wildcards: method(wildcards)["budget"],
        timeout=lambda wildcards: method(wildcards)["timeout"],
        device=config["device"],
    script:
        "../scripts/fit.py"
