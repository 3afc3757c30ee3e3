rule occlusion:
    input:
        vid=rules.ingest.output.vid,
        mask=rules.segmentation.output.mask,
        motion=rules.pose.output.motion,
        named=named_files("occlusion", "video"),
    output:
        # occ.mp4 appears beside it only if something passes in front; the record holds its digest.
        record=made("records/occlusion.json"),
    log:
        logged("occlusion", "{video}.log"),
    benchmark:
        logged("occlusion", "{video}.tsv")
    wildcard_constraints:
        video=segments.worked_on(project, "occlusion"),
    conda:
        environment("occlusion", "video")
    threads: threads("occlusion", "video")
    resources:
        **needs("occlusion", "video"),
    params:
        folder=subpath(input.vid, parent=True),
        options=options("occlusion", "video"),
        code=digest("occlusion", "video"),
    message:
        "{wildcards.video}: finding what passes in front of the person"
    shell:
        "python -m video_decomp.occlusion --template={params.folder:q} {params.options:q}"
        " > {log:q} 2>&1"
