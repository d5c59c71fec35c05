export function SettingsPage({ section }: { section: string }) { return <main id="main">{section}</main>; }
