import { createContext, useContext } from "react";
import type { Me, Model, Settings } from "./lib/types";

/** What every page may need to know. `me` is null where the server has no accounts. */
export interface Common {
  me: Me | null;
  setMe: (me: Me) => void;
  reloadMe: () => void;
  models: Model[];
  modelProblem: string;
  reloadModels: () => void;
  settings: Settings;
  /** Keeps settings: on the server where there are accounts, else language and theme in this browser. */
  saveSettings: (values: Partial<Settings>) => Promise<void>;
}

export const CommonContext = createContext<Common | null>(null);

export function useCommon(): Common {
  const found = useContext(CommonContext);
  if (!found) throw new Error("this page stands outside the application");
  return found;
}
