"""Sidecars in the shapes in which other programs write them, made up for these tests."""

from __future__ import annotations

__all__ = ["CAPTURE_ONE", "DARKTABLE", "DIGIKAM", "EXIFTOOL", "LIGHTROOM", "OTHERS"]

# one rdf:Description, everything plain an attribute, settings with signs, a curve, a mask in a struct
LIGHTROOM = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000, 0000/00/00-00:00:00">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
   xmp:MetadataDate="2023-04-05T06:07:08+02:00"
   xmp:Rating="3"
   xmp:Label="Red"
   tiff:Orientation="1"
   photoshop:SidecarForExtension="CR2"
   xmpMM:DocumentID="xmp.did:00000000-0000-4000-8000-000000000001"
   crs:Version="15.3"
   crs:ProcessVersion="11.0"
   crs:WhiteBalance="As Shot"
   crs:Exposure2012="+0.35"
   crs:Shadows2012="-12"
   crs:Name="two&#10;lines &amp; &quot;quotes&quot;"
   crs:HasSettings="True">
   <xmpMM:History>
    <rdf:Seq>
     <rdf:li
      stEvt:action="saved"
      stEvt:changed="/metadata"/>
    </rdf:Seq>
   </xmpMM:History>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Iceland</rdf:li>
     <rdf:li>Travel</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">My caption &lt;3</rdf:li>
    </rdf:Alt>
   </dc:description>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>Travel|Iceland</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
   <crs:ToneCurvePV2012>
    <rdf:Seq>
     <rdf:li>0, 0</rdf:li>
     <rdf:li>255, 255</rdf:li>
    </rdf:Seq>
   </crs:ToneCurvePV2012>
   <crs:MaskGroupBasedCorrections>
    <rdf:Seq>
     <rdf:li>
      <rdf:Description
       crs:What="Correction"
       crs:CorrectionAmount="1">
      <crs:CorrectionMasks>
       <rdf:Seq>
        <rdf:li
         crs:What="Mask/Gradient"
         crs:ZeroX="0.5"/>
       </rdf:Seq>
      </crs:CorrectionMasks>
      </rdf:Description>
     </rdf:li>
    </rdf:Seq>
   </crs:MaskGroupBasedCorrections>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""

# an XML declaration, a rating in every sidecar, the history as attributes of list items
DARKTABLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:darktable="http://darktable.sf.net/"
   exif:DateTimeOriginal="2023:01:02 03:04:05"
   xmp:Rating="0"
   xmpMM:DerivedFrom="IMG_1.CR2"
   darktable:import_timestamp="63800000000000000"
   darktable:xmp_version="5"
   darktable:raw_params="0"
   darktable:auto_presets_applied="1"
   darktable:history_end="2"
   darktable:iop_order_version="4"
   darktable:history_basic_hash="00000000000000000000000000000001">
   <darktable:masks_history>
    <rdf:Seq/>
   </darktable:masks_history>
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:operation="exposure"
      darktable:enabled="1"
      darktable:modversion="6"
      darktable:params="000000000000003f00004842000080c00100000001000000"
      darktable:multi_name=""
      darktable:multi_priority="0"
      darktable:blendop_version="12"
      darktable:blendop_params="gz12eJxjYGBgkGAAgRNODGiAEV0AJ2iwh+CRyscOAAdeGQU="/>
     <rdf:li
      darktable:num="1"
      darktable:operation="flip"
      darktable:enabled="1"
      darktable:modversion="2"
      darktable:params="ffffffff"
      darktable:multi_name=""
      darktable:multi_priority="0"
      darktable:blendop_version="12"
      darktable:blendop_params="gz12eJxjYGBgkGAAgRNODGiAEV0AJ2iwh+CRyscOAAdeGQU="/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""

# its own tags, ratings in several namespaces, captions with an author
DIGIKAM = b"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:acdsee="http://ns.acdsee.com/iptc/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
   digiKam:ColorLabel="4"
   digiKam:PickLabel="3"
   MicrosoftPhoto:Rating="75"
   xmp:Rating="4"
   xmp:Label="Green"
   acdsee:rating="4">
   <digiKam:TagsList>
    <rdf:Seq>
     <rdf:li>Tiere/V\xc3\xb6gel</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <MicrosoftPhoto:LastKeywordXMP>
    <rdf:Bag>
     <rdf:li>Tiere/V\xc3\xb6gel</rdf:li>
    </rdf:Bag>
   </MicrosoftPhoto:LastKeywordXMP>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>Tiere|V\xc3\xb6gel</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>V\xc3\xb6gel</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <exif:UserComment>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">Ein Spatz</rdf:li>
    </rdf:Alt>
   </exif:UserComment>
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">Ein Spatz</rdf:li>
     <rdf:li xml:lang="en-US">A sparrow</rdf:li>
    </rdf:Alt>
   </dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""

# other prefixes, everything an element, several rdf:Description, Windows line ends, a byte order mark
CAPTURE_ONE = (
    b"\xef\xbb\xbf"
    + b"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 5.5.0">
   <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
      <rdf:Description rdf:about=""
            xmlns:xap="http://ns.adobe.com/xap/1.0/">
         <xap:Rating>5</xap:Rating>
         <xap:Label></xap:Label>
      </rdf:Description>
      <rdf:Description rdf:about=""
            xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/">
         <photoshop:Urgency>3</photoshop:Urgency>
      </rdf:Description>
      <rdf:Description rdf:about=""
            xmlns:lightroom="http://ns.adobe.com/lightroom/1.0/"
            xmlns:dc="http://purl.org/dc/elements/1.1/">
         <lightroom:hierarchicalSubject>
            <rdf:Bag>
               <rdf:li>People|Anna</rdf:li>
            </rdf:Bag>
         </lightroom:hierarchicalSubject>
         <dc:subject>
            <rdf:Bag>
               <rdf:li>People</rdf:li>
               <rdf:li>Anna</rdf:li>
            </rdf:Bag>
         </dc:subject>
      </rdf:Description>
   </rdf:RDF>
</x:xmpmeta>
""".replace(b"\n", b"\r\n")
)

# single quotes, the packet's wrapper with padding, a comment and another processing instruction
EXIFTOOL = b"""<?xpacket begin='\xef\xbb\xbf' id='W5M0MpCehiHzreSzNTczkc9d'?>
<!-- made by hand -->
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Image::ExifTool 12.57'>
<?adobe-xap-filters esc="CRLF"?>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>

 <rdf:Description rdf:about='uuid:&quot;7&quot;'
  xmlns:Iptc4xmpCore='http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/'>
  <Iptc4xmpCore:CreatorContactInfo rdf:parseType='Resource'>
   <Iptc4xmpCore:CiAdrCity>Oslo</Iptc4xmpCore:CiAdrCity>
  </Iptc4xmpCore:CreatorContactInfo>
 </rdf:Description>

 <rdf:Description rdf:about='uuid:&quot;7&quot;'
  xmlns:xmp='http://ns.adobe.com/xap/1.0/'>
  <!-- rejected -->
  <xmp:Rating>-1</xmp:Rating>
 </rdf:Description>
</rdf:RDF>
</x:xmpmeta>
                                                                     
<?xpacket end='w'?>"""

OTHERS = {
    "lightroom": LIGHTROOM,
    "darktable": DARKTABLE,
    "digikam": DIGIKAM,
    "capture one": CAPTURE_ONE,
    "exiftool": EXIFTOOL,
}
