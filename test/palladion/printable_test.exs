defmodule Palladion.PrintableTest do
  use ExUnit.Case, async: true

  import Palladion.Printable, only: [cut: 1, escape: 1]

  test "text stays as it is" do
    assert escape("CN=Zoë 数据库, O=\"x\"\\20") == "CN=Zoë 数据库, O=\"x\"\\20"
  end

  test "what a terminal would obey does not" do
    assert escape("a\e[2Jb\nc\rd\td\d") == "a\\1B[2Jb\\0Ac\\0Dd\\09d\\7F"
    assert escape("\u009B31m") == "\\C2\\9B31m"
    assert escape("\u202Egnp.exe\u2066") == "\\E2\\80\\AEgnp.exe\\E2\\81\\A6"
  end

  test "what can't be seen is shown" do
    for char <- [0xAD, 0x61C, 0x200B, 0xFEFF, 0xFFF9, 0xFFFB, 0xE0001, 0xE007F] do
      text = <<char::utf8>>
      assert escape("a" <> text <> "b") == "a\\" <> hex(text) <> "b"
    end
  end

  defp hex(text), do: for(<<byte <- text>>, do: Base.encode16(<<byte>>)) |> Enum.join("\\")

  test "a long text costs no more for each of its bytes" do
    # Four times as long took sixteen times as much.
    text = String.duplicate("a\e", 500_000)
    task = Task.async(fn -> escape(text) end)
    assert {:ok, escaped} = Task.yield(task, 30_000) || Task.shutdown(task, :brutal_kill)
    assert byte_size(escaped) == 2_000_000
  end

  test "a text is cut between characters, and says so" do
    whole = String.duplicate("a", 1_024)
    assert cut(whole) == whole
    assert cut(whole <> "a") == whole <> "…"
    assert cut("a" <> String.duplicate("é", 600)) == "a" <> String.duplicate("é", 511) <> "…"
    assert cut(String.duplicate(<<0xFF>>, 2_000)) == String.duplicate(<<0xFF>>, 1_024) <> "…"
  end

  test "bytes that are no UTF-8 are shown as bytes" do
    assert escape(<<"a", 0xFF, "b">>) == "a\\FFb"
  end
end
