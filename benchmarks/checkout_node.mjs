// The source's way: Node's own fetch, Promise.allSettled, ten seconds for each request, its log lines.
// node checkout_node.mjs BASE SESSIONS PLACES TICKS: so many sessions, so many requests at once, so often.
// PLACES 1 is the loop that the source compares itself with.
const [base, sessions, places, ticks] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const open = Array.from({ length: sessions }, (_, n) => ({ id: `s${n + 1}`, billingCheckoutId: `checkout_${n + 1}` }));

async function check(session) {
  const url = `${base}/billing/api/v1/paysession/${session.billingCheckoutId}`;
  const response = await fetch(url, {
    headers: { "x-api-key": process.env.APIKEY },
    signal: AbortSignal.timeout(10_000),
  });
  await response.text();
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  console.log(`✅ Success: Checkout session ${session.id} (${session.billingCheckoutId}) is still active`);
}

async function checkAll() {
  let next = 0;
  const results = [];
  async function place() {
    while (next < open.length) {
      results.push(...(await Promise.allSettled([check(open[next++])])));
    }
  }
  await Promise.all(Array.from({ length: Math.min(places, open.length) }, place));
  return results.filter((each) => each.status === "fulfilled").length;
}

for (let tick = 0; tick < ticks; tick++) {
  const at = new Date().toISOString();
  console.log(`🔍 [${at}] Checking ${open.length} open checkout sessions...`);
  const success = await checkAll();
  console.log(
    `📊 [${at}] Checkout session check complete: ${success} success, ${open.length - success} errors`,
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
}
