"""Where the kernel lies, for dumps that do not say it themselves (no VMCOREINFO)."""

from gcoretools.layout.needs.need import Need, maybe, need

MEMBERS: tuple[Need, ...] = (
    need("list_head.next"),  # as wide as a pointer
    maybe("uts_namespace.name"),  # 4865ecf1315b (2.6.19)
)

SIZES: tuple[Need, ...] = ()

CONSTANTS: tuple[Need, ...] = ()

SYMBOLS: tuple[Need, ...] = (
    maybe("_stext"),
    maybe("linux_banner"),
    maybe("init_uts_ns"),
    maybe("system_utsname"),  # 4865ecf1315b (2.6.19); distributions keep both
    maybe("init_top_pgt", "init_level4_pgt", "swapper_pg_dir"),  # 65ade2f872b4 (4.13)
)
