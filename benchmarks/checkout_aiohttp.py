"""The same with aiohttp: `checkout_aiohttp.py BASE SESSIONS PLACES TICKS`."""

import asyncio
import os
import sys
from datetime import UTC, datetime

import aiohttp


async def check(client: aiohttp.ClientSession, base: str, n: int) -> None:
    async with client.get(f"{base}/billing/api/v1/paysession/checkout_{n}") as response:
        await response.read()
        response.raise_for_status()
    print(f"✅ Success: Checkout session s{n} (checkout_{n}) is still active")


async def check_all(client: aiohttp.ClientSession, base: str, sessions: int) -> None:
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    print(f"🔍 [{at}] Checking {sessions} open checkout sessions...", flush=True)
    checks = [check(client, base, n + 1) for n in range(sessions)]
    found = await asyncio.gather(*checks, return_exceptions=True)
    success = sum(each is None for each in found)
    counted = f"{success} success, {sessions - success} errors"
    print(f"📊 [{at}] Checkout session check complete: {counted}", flush=True)


async def main(base: str, sessions: int, places: int, ticks: int) -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=places),
        headers={"x-api-key": os.environ["APIKEY"]},
        timeout=aiohttp.ClientTimeout(total=10),
    ) as client:
        for _ in range(ticks):
            await check_all(client, base, sessions)
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
