"""Which network addresses are public."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

GLOBAL_UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
# What the `ipaddress` of older Pythons takes for public.
NOT_PUBLIC = [ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")]


def is_public(address: str) -> bool:
    """Tell whether an address, and one of IPv4 that it embeds, is global unicast."""
    ip = ip_address(address.partition("%")[0])
    inner = _embedded(ip)
    if inner:
        return is_public(str(inner))
    if isinstance(ip, IPv6Address) and ip not in GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in each for each in NOT_PUBLIC)


def _embedded(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(ip, IPv4Address):
        return None
    return ip.ipv4_mapped or ip.sixtofour or (IPv4Address(ip.packed[-4:]) if ip in NAT64 else None)
