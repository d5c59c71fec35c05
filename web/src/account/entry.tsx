export function EntryPage({ way, token }: { way: string; token: string }) { return <main id="main">{way} {token}</main>; }
