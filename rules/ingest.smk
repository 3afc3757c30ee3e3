rule ingest:
    input:
        source=lambda wildcards: stored(project.videos[wildcards.video]),
        named=named_files("ingest", "video"),
    output:
        vid=ensure(made("vid.mp4"), non_empty=True),
        record=made("records/ingest.json"),
    log:
        logged("ingest", "{video}.log"),
    benchmark:
        logged("ingest", "{video}.tsv")
    conda:
        environment("ingest", "video")
    threads: threads("ingest", "video")
    resources:
        **needs("ingest", "video", "source"),
    params:
        folder=subpath(output.vid, parent=True),
        options=options("ingest", "video"),
        code=digest("ingest", "video"),
        source=content(project.videos, "video"),
    message:
        "{wildcards.video}: reading and normalising the video"
    shell:
        "python -m video_decomp.ingest --template={params.folder:q} {params.options:q}"
        " -- {input.source:q} > {log:q} 2>&1"
