"""Wrong words about containers: names and fields that would reach further than they may."""

from tests.specfile.bad_specs import Bad

DIGEST = "sha256:" + "0a" * 32
IMAGE = f"registry.example/shop/web@{DIGEST}"
_PROCESS = "process: [nginx, -p, ., -c, nginx.conf, -e, error.log]"


def _image(image: str, says: str) -> Bad:
    return Bad(name=image, old=_PROCESS, new=f"image: {image} # <-", says=says)


def _field(field: str, says: str) -> Bad:
    new = f"image: {IMAGE}\n  {field} # <-"
    return Bad(name=field, old=_PROCESS, new=new, says=says)


_NO_REGISTRY = "is not a registry: a host with a dot or a port"
_NO_NAME = "is not the name of an image"
CONTAINERS = (
    *(
        _image(f"'{host}web@{DIGEST}'", _NO_REGISTRY)
        for host in (
            "",
            "--privileged/",
            "-v=/:/host/",
            "shop/",
            "/",
            "./",
            "../",
            "$(id).example/",
            "`id`.example/",
            "a.example;id/",
            "a.example|id/",
            "a.example&/",
            "a b.example/",
            "docker://a.example/",
            "oci-archive:/etc/",
            "dir:/",
            "containers-storage:a.example/",
            "user:word@a.example/",
            "A.EXAMPLE/",
            "a.example:x/",
            "[::1]/",
        )
    ),
    *(
        _image(f"'a.example/{path}@{DIGEST}'", _NO_NAME)
        for path in (
            "",
            "../web",
            "shop/../../web",
            "shop//web",
            "shop/web/",
            "./web",
            "--privileged",
            "shop/-v",
            "web --privileged",
            "web;id",
            "$(id)",
            "we`b",
            "WEB",
            "we%62",
            "web?x=1",
        )
    ),
    _image(f'"a.example/web\\n--privileged@{DIGEST}"', _NO_NAME),
    _image(
        "a.example/web", "run.image: it has no digest and no tag (skopeo inspect docker://a"
    ),
    _image(f"a.example/web:1.2@{DIGEST}", "it names a tag beside the digest"),
    *(
        _image(f"'a.example:5000/web:{tag}'", "is not")
        for tag in ("", "-v", ".1", "1 --privileged", "$(id)", "1/2", "1:2", "x" * 129)
    ),
    _image(f"'a.example/web@{DIGEST} --privileged'", "is not a digest"),
    _image(f"a.example/web@{DIGEST[:-1]}", "is not a digest"),
    _image(f"a.example/web@{DIGEST}0", "is not a digest"),
    _image(f"a.example/web@{DIGEST}@{DIGEST}", "is not a digest"),
    _image("a.example/web@md5:0a0a", "is not a digest"),
    _image(f"{'a' * 250}.example/web@{DIGEST}", "is longer than 255 characters"),
    *(
        _field(f"{field}: {value}", f"run.{field}: unknown field")
        for field, value in (
            ("privileged", "true"),
            ("network", "host"),
            ("pid", "host"),
            ("volumes", "[/:/host]"),
            ("devices", "[/dev/sda]"),
            ("security_opt", "[seccomp=unconfined]"),
            ("cap_add", "[ALL]"),
            ("userns", "host"),
            ("runtime", "/evil"),
        )
    ),
    *(
        _field(f"capabilities: [{name}]", "is not a known word (known: CHOWN")
        for name in (
            "ALL",
            "SYS_ADMIN",
            "CAP_SYS_ADMIN",
            "NET_ADMIN",
            "NET_RAW",
            "SYS_PTRACE",
            "chown",
            "'CHOWN --privileged'",
        )
    ),
    _field("capabilities: [CHOWN, CHOWN]", "CHOWN is in the list twice"),
    _field("ulimits: {rtprio: 99}", "unknown limit"),
    _field("ulimits: {nofile: -1}", "-1 is outside 0.."),
    _field("ulimits: {nofile: unlimited}", "must be a whole number"),
    _field("user: root", "'root' is not a user (numbers: UID or UID:GID"),
    _field("user: '0 --privileged'", "is not a user"),
    _field("user: -1", "'-1' is not a user"),
    _field("user: 4294967295", "is not a user"),
    _field("read_only: 'no'", "must be true or false"),
    _field("process: [nginx]", "there is an image too, and an instance is one of them"),
    _field("args: ['${pltfrms.nod}']", "unknown variable ${pltfrms.nod}"),
    Bad(
        name="neither process nor image",
        old=f"  {_PROCESS}\n",
        new="",
        says="run.process: is missing (add process:, image:, external: or systemd:)",
    ),
    Bad(
        name="a process with a user",
        old=_PROCESS,
        new=f"{_PROCESS}\n  user: 1000 # <-",
        says="user belongs to image, and there is none",
    ),
)
