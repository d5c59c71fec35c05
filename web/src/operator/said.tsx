import { useTranslation } from "react-i18next";
import { visible } from "../lib/format";
import { modelTitle } from "../lib/names";

export interface Spoken {
  role?: string;
  content: string;
  model?: string;
}

/** Foreign words before an operator: as plain text, never as Markdown, with nothing in them that could act. */
export function Said({ messages }: { messages: Spoken[] }) {
  const { t } = useTranslation();
  return (
    <div className="said-plain">
      {messages.map((message, index) => (
        <div key={index}>
          <span className="quiet small">{message.role === "user" ? t("operator.person") : modelTitle(message.model ?? "") || t("operator.answer")}</span>
          <p dir="auto">{visible(message.content)}</p>
        </div>
      ))}
    </div>
  );
}
