"""What motions in scenes, and groups of people, are made of."""

from mimo.scene_names import Staging


def staging(wildcards):
    """The motion and the scene that a template is named after."""
    return Staging.named(wildcards.staged)


def template_config(name):
    """The file that stands for a template that is whole."""
    return stored(f"{project.config.templates}/{name}/config.json")


def dropped_in_files(name):
    """Files of a template dropped in by hand, which its config.json does not stand for; else none."""
    return [stored(path) for path in project.dropped_in_files(name)]


def scene_files(scene):
    """Files of a scene: that of the folder of scenes, or a template; none of a colour."""
    if scene in project.scenes:
        return [stored(project.scenes[scene])]
    if scene in project.templates:
        return [template_config(scene), *dropped_in_files(scene)]
    return []


def scene_content(scene):
    """Digest of a scene's file; templates tell of changes by their config.json."""
    return source_digest(project.scenes[scene]) if scene in project.scenes else ""


def member_files(*names):
    """Some files of the templates of all members of a group."""
    return lambda wildcards: [
        stored(f"{project.config.templates}/{template}/{name}")
        for template in project.groups[wildcards.group].values()
        for name in names
    ]


def members(wildcards):
    """Members of a group as its command line is told of them."""
    return [
        f"--member={member}={project.config.templates}/{template}"
        for member, template in project.groups[wildcards.group].items()
    ]
