import { createRoot } from "react-dom/client";
import { App } from "./app";
import "./styles/base.css";
import "./styles/ui.css";
import "./styles/sidebar.css";
import "./styles/chat.css";
import "./styles/message.css";
import "./styles/pages.css";
import "./styles/studio.css";

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
