export function Header({ page }: { page: "chat" | "build" | null }) {
  return (
    <header className="top">
      <a className="brand" href="#/" aria-label="Chatwright, start page">
        <Mark />
        <span>Chatwright</span>
      </a>
      <nav aria-label="Pages">
        <a href="#/chat" aria-current={page === "chat" ? "page" : undefined}>
          Chat
        </a>
        <a href="#/build" aria-current={page === "build" ? "page" : undefined}>
          Build
        </a>
      </nav>
    </header>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <path
        className="mark-bubble"
        d="M7 4h18a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H15l-7 5v-5H7a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4z"
      />
      <path className="mark-w" d="M8.5 10.5 12 18l4-6 4 6 3.5-7.5" />
    </svg>
  );
}
