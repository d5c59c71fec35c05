import { type MouseEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { Dialog } from "../ui/dialog";
import { useToast } from "../ui/toast";
import { copyText } from "../ui/use";
import { useCommon } from "../context";

interface Leaving {
  address: string;
  picture: boolean;
}

/** Handles presses inside texts of models: code is copied, links and pictures ask first. */
export function useOutside() {
  const { t } = useTranslation();
  const say = useToast();
  const [leaving, setLeaving] = useState<Leaving | null>(null);
  const onPress = (event: MouseEvent) => {
    const target = event.target instanceof Element ? event.target : null;
    const copy = target?.closest(".copy-code");
    if (copy) {
      const text = copy.closest(".code")?.querySelector("code")?.textContent ?? "";
      void copyText(text).then((done) => say({ text: t(done ? "chat.copied" : "chat.notCopied") }));
      return;
    }
    const link = target?.closest<HTMLAnchorElement>(".markdown a[href]");
    if (!link) return;
    event.preventDefault();
    setLeaving({ address: link.getAttribute("href") ?? "", picture: link.classList.contains("picture") });
  };
  const dialog = leaving && <LeaveDialog {...leaving} onClose={() => setLeaving(null)} />;
  return { onPress, dialog };
}

function LeaveDialog({ address, picture, onClose }: Leaving & { onClose: () => void }) {
  const { t } = useTranslation();
  const { settings } = useCommon();
  const say = useToast();
  const url = URL.canParse(address) ? new URL(address) : null;
  const refused = picture && settings.remote_images === "never";
  const copy = async () => say({ text: t((await copyText(url?.href ?? address)) ? "chat.copied" : "chat.notCopied") });
  return (
    <Dialog title={t(picture ? "outside.picture" : "outside.link")} onClose={onClose}>
      <p>{t(refused ? "outside.never" : picture ? "outside.pictureText" : "outside.linkText")}</p>
      <p className="address" dir="ltr">
        {url ? (
          <>
            {url.protocol}//{url.username && `${url.username}@`}
            <mark>{url.host}</mark>
            {url.pathname}
            {url.search}
            {url.hash}
          </>
        ) : (
          address
        )}
      </p>
      <div className="dialog-actions">
        <button type="button" className="plain" onClick={onClose}>
          {t("ui.cancel")}
        </button>
        <button type="button" className="plain" onClick={() => void copy()}>
          {t("outside.copy")}
        </button>
        {url && !refused && (
          <a className="button" href={url.href} target="_blank" rel="noopener noreferrer nofollow" onClick={onClose}>
            {t("outside.open")}
          </a>
        )}
      </div>
    </Dialog>
  );
}
