"""Several people of one video in one template; between the two rules, inpainting removes all of them."""


rule group:
    input:
        # occ.mp4 may lie beside each record of occlusion, which holds its digest.
        members=member_files(
            *("vid.mp4", "mask.mp4", "sdc.mp4"),
            *("records/segmentation.json", "records/occlusion.json"),
        ),
        named=named_files("group", "group"),
        changed=unseen("group", "group"),
    output:
        videos=ensure(
            [made(f"{name}.mp4", "group") for name in ("vid", "mask", "people")],
            non_empty=True,
        ),
        record=made("records/group.json", "group"),
    log:
        logged("group", "{group}.log"),
    benchmark:
        logged("group", "{group}.tsv")
    conda:
        environment("group", "group")
    threads: threads("group", "group")
    resources:
        **needs("group", "group", 0),
    params:
        folder=lambda wildcards: project.config.templates / wildcards.group,
        members=members,
        options=options("group", "group"),
        code=digest("group", "group"),
    message:
        "{wildcards.group}: finding who is where"
    shell:
        "python -m video_decomp.group --template={params.folder:q} {params.members:q}"
        " {params.options:q} > {log:q} 2>&1"


rule group_template:
    input:
        rules.group.output,
        [made(name, "group") for name in ("bk.mp4", "records/inpainting.json")],
    output:
        preview=ensure(made("preview.png", "group"), non_empty=True),
        config=made("config.json", "group"),
    log:
        logged("template", "{group}.log"),
    benchmark:
        logged("template", "{group}.tsv")
    conda:
        environment("group", "group")
    threads: threads("template", "group")
    resources:
        **needs("template", "group", 0),
    params:
        folder=subpath(output.config, parent=True),
        options=options("template", "group"),
        code=lambda wildcards: project.digest(
            "template", wildcards.group, "video_decomp.group.pack"
        ),
    message:
        "{wildcards.group}: checking and packing the group"
    shell:
        "python -m video_decomp.group.pack --template={params.folder:q} --name={wildcards.group:q}"
        " {params.options:q} > {log:q} 2>&1"
