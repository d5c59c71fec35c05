export function OperatorPage({ section }: { section: string }) { return <main id="main">{section}</main>; }
